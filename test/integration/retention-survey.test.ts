import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { SegmentDocument } from '../../src/archive/contract.js'
import { collectionNames } from '../../src/mongo/collections.js'
import { createRetentionClock } from '../../src/retention/clock-store.js'
import { runIdOf } from '../../src/retention/runs.js'
import { hotLogs, newestSegments, surveyArchive } from '../../src/retention/survey.js'
import {
  tileDocumentId,
  type LogHeadDocument,
  type LogTileDocument,
} from '../../src/transparency-log/store.js'
import { openWorld, type World } from '../support/world.js'

let world: World
beforeAll(async () => {
  world = await openWorld()
  await world.request('PUT', '/v1/organizations/org_runs')
})
afterAll(() => world.close())

const day = 86_400_000
// Of today: the figures go by the real clock.
const now = new Date(Math.floor(Date.now() / day) * day)
const daysAgo = (days: number) => new Date(now.getTime() - days * day)

/** A log whose leaf n was sealed `oldest - n` days ago, with segments that end at these leaves. */
async function log(
  organizationId: string,
  {
    oldest,
    size,
    segments = [],
    generation = 1,
    closed = false,
    hotDays,
  }: {
    oldest: number
    size: number
    segments?: readonly number[]
    generation?: number
    closed?: boolean
    hotDays?: number
  },
): Promise<void> {
  const { db } = world.api.core
  const _id = closed ? `${organizationId}/${String(generation)}` : organizationId
  await db
    .collection<Pick<LogHeadDocument, '_id' | 'organizationId' | 'generation' | 'size'>>(
      collectionNames.logHeads,
    )
    .insertOne({ _id, organizationId, generation, size })
  await db.collection<LogTileDocument>(collectionNames.logTiles).insertOne({
    _id: tileDocumentId(organizationId, generation, 0, 0),
    ...{ organizationId, generation, level: 0, index: 0, width: size, hashes: Buffer.alloc(0) },
    eventIds: [`evt_${_id}`],
    sealings: Array.from({ length: size }, (_, leaf) => ({ at: daysAgo(oldest - leaf), count: 1 })),
  })
  let from = 0
  for (const to of segments) {
    const place = { organizationId, generation, from, to, leaves: to - from }
    await db
      .collection<Partial<SegmentDocument> & { _id: string }>(collectionNames.archiveSegments)
      .insertOne({ _id: `${organizationId}/${String(generation)}/${String(from)}`, ...place })
    from = to
  }
  if (hotDays !== undefined)
    await db.collection<{ _id: string }>(collectionNames.retentionPolicies).insertMany(
      [1, 2].map((version) => ({
        _id: `${organizationId}/${String(version)}`,
        organizationId,
        version,
        hotDays: version === 2 ? hotDays : 1,
      })),
    )
}

describe('how far archiving is behind', () => {
  test('is nothing where nothing is hot', async () => {
    expect(await surveyArchive(world.api.core.db, now)).toEqual({ oldestHot: null, lagMs: 0, due: 0 })
  })

  test('is told by the first hot leaf of each log, under the newest policy of each', async () => {
    const survey = () => surveyArchive(world.api.core.db, now)
    await log('org_young', { oldest: 100, size: 10 })
    expect(await survey()).toEqual({ oldestHot: daysAgo(100), lagMs: 0, due: 0 })
    await log('org_archived', { oldest: 400, size: 10, segments: [4, 10] })
    expect(await survey()).toEqual({ oldestHot: daysAgo(100), lagMs: 0, due: 0 })
    await log('org_partly', { oldest: 300, size: 200, segments: [50, 118] })
    expect(await survey()).toEqual({ oldestHot: daysAgo(182), lagMs: 0, due: 0 })
    await log('org_short', { oldest: 20, size: 10, hotDays: 15 })
    expect(await survey()).toEqual({ oldestHot: daysAgo(182), lagMs: 5 * day, due: 1 })
    await log('org_behind', { oldest: 200, size: 10, segments: [5] })
    expect(await survey()).toEqual({ oldestHot: daysAgo(195), lagMs: 12 * day, due: 2 })
    // A log that was restarted: the old generation still has hot leaves, the new one has none archived.
    await log('org_restarted', { oldest: 250, size: 10, segments: [3], closed: true })
    await log('org_restarted', { oldest: 30, size: 10, generation: 2 })
    expect(await survey()).toEqual({ oldestHot: daysAgo(247), lagMs: 64 * day, due: 3 })
  })

  test('a sweep finds the same logs, with the leaf to go on from', async () => {
    const found: string[] = []
    for await (const { organizationId, generation, from, hotDays } of hotLogs(world.api.core.db))
      found.push(`${organizationId} ${String(generation)} ${String(from)} ${String(hotDays)}`)
    expect(found).toEqual([
      'org_behind 1 5 183',
      'org_partly 1 118 183',
      'org_restarted 2 0 183',
      'org_restarted 1 3 183',
      'org_short 1 0 15',
      'org_young 1 0 183',
    ])
  })

  test('reads one segment of each organization, however many there are', async () => {
    const segments = world.api.core.db.collection(collectionNames.archiveSegments)
    const plan = await segments.aggregate(newestSegments(['org_behind', 'org_partly'])).explain()
    expect(JSON.stringify(plan)).toContain('DISTINCT_SCAN')
  })

  test('stands in the figures', async () => {
    const { text } = await world.request('GET', '/metrics')
    expect(text).toMatch(/^annals_retention_hot_age_seconds \d+/m)
    expect(text).toMatch(/^annals_retention_archive_lag_seconds \d+/m)
    expect(text).toMatch(/^annals_retention_due_organizations 3$/m)
    expect(text).toMatch(/^annals_retention_runs_needing_operator 0$/m)
    expect(text).toMatch(/^annals_retention_clock_leapt 0$/m)
  })
})

test('the clock that retention goes by is shared, and survives whoever looked at it', async () => {
  const { db } = world.api.core
  let ahead = 0
  const looking = () =>
    createRetentionClock(db, {
      now: () => new Date(now.getTime() + ahead),
      databaseNow: () => Promise.resolve(new Date(now.getTime() + ahead + day)),
    })
  const all = await Promise.all(Array.from({ length: 5 }, () => looking().look()))
  expect(all.map((time) => time.now)).toEqual(all.map(() => now))
  ahead = 5 * 365 * day
  expect(await looking().look()).toMatchObject({ verdict: 'leapt', now })
  ahead += day
  expect((await looking().look()).now).toEqual(now)
  // Asking without noting settles nothing.
  ahead += 1.5 * day
  await looking().peek()
  ahead += 1.5 * day
  expect((await looking().look()).now).toEqual(now)
  ahead = 7 * day
  expect(await looking().look()).toMatchObject({ verdict: 'leapt', now })
  ahead = 1 * day
  expect(await looking().look()).toMatchObject({ verdict: 'steady', now: daysAgo(-1) })
  // The real clocks: those of this process and of the server.
  await db.collection<{ _id: string }>(collectionNames.deployment).deleteOne({ _id: 'retentionClock' })
  const real = await createRetentionClock(db).look()
  expect(real.verdict).toBe('steady')
  expect(real.now.getTime()).toBeLessThanOrEqual(Date.now())
  expect(real.now > daysAgo(365)).toBe(true)
})

describe('runs', () => {
  const organizationId = 'org_runs'
  const workflowId = 'archive/org_runs/1.0-256'
  const begin = (execution: string, at: Date, more: object = {}) =>
    world.api.core.retention.runs.begin({
      ...{ organizationId, kind: 'archive', generation: 1, from: 0, to: 256, workflowId, execution },
      ...{ step: 'exporting', at },
      ...more,
    })
  const list = async (query = '') => {
    const page = await world.request('GET', `/v1/organizations/${organizationId}/retention/runs${query}`)
    return page.body as { data: Record<string, unknown>[]; nextCursor: string | null }
  }

  test('are written once for an execution, and say how they went on', async () => {
    const { runs } = world.api.core.retention
    const id = await begin('one', now)
    expect(await begin('one', daysAgo(-1))).toBe(id)
    expect(id).toBe(runIdOf(workflowId, 'one'))
    await runs.progress(organizationId, id, { step: 'verifying', counts: { leaves: 256 } }, daysAgo(-1))
    await runs.needOperator(organizationId, id, 'archive_full', {}, daysAgo(-2))
    expect(await runs.countNeedingOperator()).toBe(1)
    expect((await list()).data).toEqual([
      {
        ...{ id, organizationId, kind: 'archive', generation: 1, from: 0, to: 256, workflowId },
        ...{ state: 'needs_operator', step: 'verifying', reason: 'archive_full' },
        ...{ counts: { leaves: 256 }, bytes: {}, progress: null },
        ...{ startedAt: now.toISOString(), updatedAt: daysAgo(-2).toISOString(), finishedAt: null },
      },
    ])
  })

  test('that needed an operator need none once the range is taken up again', async () => {
    const { runs } = world.api.core.retention
    const id = await begin('two', daysAgo(-3))
    expect((await list()).data.map(({ state }) => state)).toEqual(['running', 'superseded'])
    expect(await runs.countNeedingOperator()).toBe(0)
    await runs.progress(
      organizationId,
      id,
      { counts: { leaves: 256 }, bytes: { archived: 999, verified: 998 } },
      daysAgo(-3),
    )
    await runs.finish(organizationId, id, { step: 'done' }, daysAgo(-4))
    // The first end stands, and counts once.
    await runs.finish(organizationId, id, { step: 'logging' }, daysAgo(-5))
    await runs.needOperator(organizationId, id, 'internal', {}, daysAgo(-5))
    const [newest] = (await list()).data
    expect(newest).toMatchObject({ state: 'done', step: 'done', finishedAt: daysAgo(-4).toISOString() })
    const done = { runs: 1, leaves: 256, archivedBytes: 999, verifiedBytes: 998 }
    expect([...runs.totals()]).toEqual([['archive', done]])
  })

  test('are listed newest first, by kind and state, page by page', async () => {
    await begin('three', daysAgo(5), { kind: 'restore', workflowId: 'restore/org_runs/x' })
    const all = (await list()).data.map(({ id }) => id)
    const first = await list('?limit=2')
    const second = await list(`?limit=2&cursor=${first.nextCursor ?? ''}`)
    expect([...first.data, ...second.data].map(({ id }) => id)).toEqual(all)
    expect([all.length, second.nextCursor]).toEqual([3, null])
    expect((await list('?kind=restore')).data).toHaveLength(1)
    expect((await list('?state=superseded&kind=archive')).data).toHaveLength(1)
    expect(await list('?state=lost')).toMatchObject({ code: 'invalid' })
    expect(await list(`?kind=restore&cursor=${first.nextCursor ?? ''}`)).toMatchObject({
      code: 'cursor_invalid',
    })
  })
})
