/** Records that expire from a bucket with versions and object lock: gone in every version, and not before their lock. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parseSegmentPath } from '../../src/archive/segment-paths.js'
import { collectionNames } from '../../src/mongo/collections.js'
import { recordsLock } from '../../src/retention/policy.js'
import { segmentsOf } from '../support/archiving.js'
import {
  archivedLongAgo,
  clockAt,
  dueToExpire,
  expirerOf,
  expireSegment,
  longAgo,
  onDay,
} from '../support/expiring.js'
import { checkRetained } from '../support/retention-oracle.js'
import { absentVersitygw, startVersitygw, versitygwBinary, type Versitygw } from '../support/versitygw.js'
import { openWorld, type World } from '../support/world.js'

const absent = versitygwBinary === undefined
if (absent) test('records in S3 expire where versitygw is', (context) => context.skip(absentVersitygw))

describe.runIf(!absent)('with the archive in S3', () => {
  let s3: Versitygw
  let world: World
  beforeAll(async () => {
    s3 = await startVersitygw()
    const url = await s3.createBucket('annals')
    world = await openWorld({ environment: { ANNALS_ARCHIVE_URL: url.replace('?', '/prod?') } })
  })
  afterAll(async () => {
    await world.close()
    await s3.stop()
  })

  const later = new Date(Date.now() + 8 * 86_400_000)
  const author = { principal: 'prn_aaaaaaaaaaaaaaaaaaaaaaaaaa', requestId: 'req_1' }
  const days = (recordDays: number | null) => ({ hotDays: 183, archiveDays: 2_555, recordDays })
  const put = (organizationId: string, recordDays: number | null) =>
    world.api.core.retention.policies.put(organizationId, days(recordDays), author)

  async function archived(organizationId: string, recordDays: number | null): Promise<string[]> {
    await onDay(longAgo, async () => {
      await world.api.core.eventOrganizations.ensure(organizationId, 'system')
      await put(organizationId, recordDays)
    })
    // The database says when it began: as if that were long ago, for the lock goes by what counts now.
    await world.api.core.db
      .collection<{ organizationId: string }>(collectionNames.retentionPolicies)
      .updateMany({ organizationId }, { $set: { since: longAgo } })
    return archivedLongAgo(world, organizationId, 4)
  }

  async function expireNext(organizationId: string) {
    const input = await dueToExpire(world, organizationId, later)
    if (input === undefined) return undefined
    const state = await expireSegment(world, expirerOf(world, { clock: clockAt(later) }), input)
    return `${input.kind} ${state}`
  }

  async function kindsOf(organizationId: string): Promise<string[]> {
    const kinds: string[] = []
    for await (const { path } of world.api.core.archive.versions(`${organizationId}/`))
      kinds.push(parseSegmentPath(path)?.kind ?? path)
    return kinds.sort()
  }

  test('they go in every version, and their manifest, their leaves and the proofs stay', async () => {
    const organizationId = 'org_bucket'
    const accepted = await archived(organizationId, 2_555)
    expect(await kindsOf(organizationId)).toContain('records')
    expect([await expireNext(organizationId), await expireNext(organizationId)]).toEqual([
      'content recorded',
      'records recorded',
    ])
    expect(await checkRetained(world, organizationId, accepted)).toMatchObject({ recordsExpired: 4 })
    expect(await kindsOf(organizationId)).toEqual([
      'content',
      'contentManifest',
      'expiryProof',
      'leaves',
      'leavesManifest',
      'leavesProof',
      'recordsManifest',
    ])
  })

  test('those that were locked by a longer policy stay until the lock has run out, and say so', async () => {
    const organizationId = 'org_locked'
    const accepted = await archived(organizationId, null)
    await put(organizationId, 2_555)
    expect(await expireNext(organizationId)).toBe('content recorded')
    expect(await expireNext(organizationId)).toBe('records locked')
    const [segment] = await segmentsOf(world.api.core).find({ organizationId }).toArray()
    const until = recordsLock(segment?.sealedTo ?? new Date(0), { recordDays: null })
    const seconds = (date: Date | undefined) => Math.floor((date?.getTime() ?? 0) / 1_000)
    expect(seconds(segment?.recordsLockedUntil)).toBe(seconds(until))
    expect(await expireNext(organizationId)).toBeUndefined()
    expect(await checkRetained(world, organizationId, accepted)).toMatchObject({ recordsExpired: 0 })
    const after = new Date(until.getTime() + 86_400_000)
    expect((await dueToExpire(world, organizationId, after))?.kind).toBe('records')
  })
})
