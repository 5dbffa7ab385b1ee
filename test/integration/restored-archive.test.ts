/**
 * A database and a key folder that were restored from before an erasure, whose archive was not: what was erased there, and
 * what a hold had kept and is gone since, is unreadable once the journal is applied, also for who has the old keys.
 */
import { copyFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createReleasing } from '../../src/erasure/releasing.js'
import { createLogger } from '../../src/logging.js'
import { applyErasures } from '../../src/operations/apply-erasures.js'
import { diagnose } from '../../src/operations/doctor.js'
import { verifyServer } from '../../src/verification/run.js'
import { sealingOf } from '../support/anchoring.js'
import {
  archiveAll,
  canary,
  canaryIdentifiers,
  hitsOf,
  person,
  post,
  somebodyElse,
} from '../support/archived-person.js'
import { rawHits } from '../support/erasure-oracle.js'
import { backupOf } from '../support/backup.js'
import { completingLater, releasingLater, sevenDays, storeRequest } from '../support/certificates.js'
import { erasingRun } from '../support/erasing.js'
import { rotate, rotatorOf } from '../support/rotating.js'
import { drainUntilSealed } from '../support/sealing.js'
import { openWorld, type World } from '../support/world.js'

let world: World
beforeAll(async () => {
  world = await openWorld()
})
afterAll(async () => {
  await world.close()
})

const organizationId = 'org_restored'
const nothing = () => undefined
const author = { principal: 'prn_01jd2zq8w9e5cs0v1m6k3n7p4r', requestId: 'req_test' }

test('archive and key store do not bring back who was erased, nor what a hold had kept of them', async () => {
  const { core } = world.api
  const { holds } = core.retention
  const archived = await post(world, organizationId, { actor: person, description: `of ${canary.phone}` })
  const held = await post(world, organizationId, { action: 'team.joined', actor: person })
  await archiveAll(world, organizationId)
  const hot = await post(world, organizationId, { actor: person })
  const heldHot = await post(world, organizationId, { action: 'team.left', actor: person })
  await drainUntilSealed(core, organizationId)
  const { hold } = await holds.place(
    organizationId,
    { scope: { action: 'team.*' }, reason: 'case 17' },
    author,
  )

  const run = erasingRun(core, organizationId, canaryIdentifiers)
  await storeRequest(core, run, { state: 'completed_with_exceptions' })
  const restore = await backupOf(core)
  const { place } = core.keyring.rotating.files
  const [key = ''] = await readdir(place)
  await copyFile(join(place, key), join(world.config.dataDirectory, 'copied.key'))

  await run.scope()
  expect(await run.toVerified()).toBe('clean')
  await completingLater(core).complete(run, sevenDays)
  await holds.release(organizationId, hold.id, author)
  const releasing = createReleasing(releasingLater(core))
  expect((await releasing.release(run, sevenDays, nothing)).result).toBe('certified')
  expect(await hitsOf(world, organizationId)).toEqual([])

  // The period key goes with a rotation, and somebody copies it back beside the old database.
  await rotate(() => rotatorOf(core, world.config))
  await restore()
  await copyFile(join(world.config.dataDirectory, 'copied.key'), join(place, key))
  await core.keyring.periods.refresh()
  expect(await core.backups.guard.look()).toBe('erasures_unapplied')
  const ids = [archived.id, held.id, hot.id, heldHot.id]
  const read = (id: string) => world.request('GET', `/v1/organizations/${organizationId}/events/${id}`)
  for (const id of ids) expect((await read(id)).status).toBe(503)

  const logger = createLogger('silent')
  expect(await applyErasures(world.config, logger)).toMatchObject({ entries: 3, subjects: 1 })
  expect(await core.backups.guard.look()).toBe('fits')
  expect(await hitsOf(world, organizationId)).toEqual([])
  for (const id of ids) expect((await read(id)).body, id).toMatchObject({ actor: { erased: true } })
  // No key of theirs is left that the old period key could open, and none under which something was kept.
  const subjects = core.db.collection('subjects')
  expect(await subjects.countDocuments({ organizationId, state: 'erased', key: { $exists: true } })).toBe(0)
  const kept = { 'fields.restricted': { $exists: true } }
  expect(await core.events.countDocuments({ organizationId, ...kept })).toBe(0)
  // Nothing is kept, so the key of the request that was to keep it is not, either.
  expect((await core.erasing.deps.progress.read(run)).restrictedKey).toBeDefined()
  expect(await releasing.release(run, sevenDays, nothing)).toEqual({ result: 'nothing' })
  expect((await core.erasing.deps.progress.read(run)).restrictedKey).toBeUndefined()
  expect((await diagnose(world.config)).find(({ check }) => check === 'erasures')).toMatchObject({
    state: 'ok',
  })
  // A process that remembers nothing of the log that is lost.
  await sealingOf(world).sealer.drainOrganization(organizationId)
  const options = {
    url: world.url,
    key: world.ownerKey,
    organization: organizationId,
    logKeys: [],
    values: true,
  }
  expect((await verifyServer(options)).report.findings).toEqual([])
  // Again changes nothing.
  expect(await applyErasures(world.config, logger)).toMatchObject({ entries: 0 })
})

test('text that a hold keeps goes with the hold, also in a database that the erasure was applied to again', async () => {
  const { core } = world.api
  const { holds } = core.retention
  const organizationId = 'org_restored_text'
  await post(world, organizationId, { actor: person })
  const text = { action: 'team.joined', actor: somebodyElse, description: `beside ${canary.name}` }
  await post(world, organizationId, text)
  await drainUntilSealed(core, organizationId)
  const wanted = { scope: { action: 'team.*' }, reason: 'case 18' }
  const { hold } = await holds.place(organizationId, wanted, author)
  const run = erasingRun(core, organizationId, canaryIdentifiers)
  await storeRequest(core, run, { state: 'erasing' })
  const restore = await backupOf(core)
  await run.scope()
  expect(await run.toVerified()).toBe('clean')

  await restore()
  expect(await core.backups.guard.look()).toBe('erasures_unapplied')
  await applyErasures(world.config, createLogger('silent'))
  expect(await core.backups.guard.look()).toBe('fits')
  expect(await rawHits(core, organizationId, [canary.name])).not.toEqual([])
  await holds.release(organizationId, hold.id, author)
  // A process that remembers nothing of the log that is lost.
  const { sealer } = sealingOf(world)
  const releasing = createReleasing({ ...releasingLater(core), sealer })
  expect(await releasing.keeping(organizationId, '')).toEqual([{ organizationId, requestId: run.requestId }])
  expect(await releasing.release(run, sevenDays, nothing)).toEqual({ result: 'released' })
  expect(await rawHits(core, organizationId, [canary.name])).toEqual([])
})
