/** A whole Annals whose archive is a bucket: checkpoint copies and the rollback guard over S3. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { copyNameOf } from '../../src/transparency-log/checkpoint-copies/copies.js'
import { copiesOf, sealingOf } from '../support/anchoring.js'
import { accept, drainAll, openSealingWorld } from '../support/sealing.js'
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.js'
import { absentVersitygw, startVersitygw, versitygwBinary, type Versitygw } from '../support/versitygw.js'
import type { World } from '../support/world.js'

const absent = versitygwBinary === undefined
if (absent) test('copies in S3 are tested where versitygw is', (context) => context.skip(absentVersitygw))

describe.runIf(!absent)('with the archive in S3', () => {
  let s3: Versitygw
  let proxy: TcpProxy
  let world: World
  beforeAll(async () => {
    s3 = await startVersitygw()
    proxy = await startTcpProxy(s3.port)
    const url = await s3.createBucket('annals')
    const environment = {
      ANNALS_ARCHIVE_URL: url.replace(`:${String(s3.port)}`, `:${String(proxy.port)}`).replace('?', '/prod?'),
    }
    world = await openSealingWorld({ environment })
  })
  afterAll(async () => {
    await world.close()
    await proxy.close()
    await s3.stop()
  })

  const pending = (organizationId: string) =>
    world.api.core.events.countDocuments({ organizationId, pending: true })

  test('the newest checkpoint is copied into the bucket, and a log that is behind its copy is not sealed', async () => {
    const { core } = world.api
    await accept(core, 'org_s3', 3)
    await drainAll(core)
    expect(await core.sealing.anchoring.copyOnce()).toMatchObject({ refused: [], failed: 0 })
    const head = await core.sealing.store.head('org_s3')
    const copies = copiesOf(world.config)
    expect(await copies.read(copyNameOf('org_s3'))).toBe(head?.checkpoint)
    const size = String(head?.size)
    const ahead = head?.checkpoint.replace(`\n${size}\n`, '\n999\n') ?? ''
    await copies.write(copyNameOf('org_s3'), ahead)
    await accept(core, 'org_s3', 1)
    await expect(sealingOf(world).sealer.drainOrganization('org_s3')).rejects.toMatchObject({
      code: 'rolled_back',
      comparison: 'behind',
    })
    expect(await pending('org_s3')).toBe(1)
    await copies.write(copyNameOf('org_s3'), head?.checkpoint ?? '')
    await sealingOf(world).sealer.drainOrganization('org_s3')
    expect(await pending('org_s3')).toBe(0)
  })

  test('a bucket that cannot be reached lets no process begin a log that it cannot compare, and takes events', async () => {
    const { core } = world.api
    await accept(core, 'org_away', 1)
    proxy.plan({ direction: 'up', afterBytes: 0, action: 'cut' })
    const sealing = sealingOf(world)
    await expect(sealing.sealer.drainOrganization('org_away')).rejects.toMatchObject({ code: 'unavailable' })
    await accept(core, 'org_away', 1)
    expect(await pending('org_away')).toBeGreaterThanOrEqual(2)
    proxy.plan(undefined)
    await sealing.sealer.drainOrganization('org_away')
    expect(await pending('org_away')).toBe(0)
  })
})
