/** A database that was restored from before an erasure: it serves nobody until what was erased since is erased again. */
import { readdir, rename, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { openCore } from '../../src/composition.js'
import { createBackupGuard } from '../../src/erasure/backup-guard.js'
import type { ErasureIdentifier } from '../../src/erasure/contract.js'
import { createErasureJournal } from '../../src/erasure/journal.js'
import { knownTo } from '../../src/erasure/journal-known.js'
import { reapplyErasures, type ReapplyingDependencies } from '../../src/erasure/reapplying.js'
import { createLogger } from '../../src/logging.js'
import { applyErasures } from '../../src/operations/apply-erasures.js'
import { diagnose } from '../../src/operations/doctor.js'
import { openStore } from '../../src/archive/stores/open.js'
import { verifyServer } from '../../src/verification/run.js'
import { sealingOf } from '../support/anchoring.js'
import { backupOf } from '../support/backup.js'
import { rawHits } from '../support/erasure-oracle.js'
import { erasingRun } from '../support/erasing.js'
import { drainUntilSealed } from '../support/sealing.js'
import { openWorld, type World } from '../support/world.js'

let world: World
beforeEach(async () => {
  world = await openWorld()
})
afterEach(async () => {
  await world.close()
})

const logger = createLogger('silent')
const canary = {
  type: 'user',
  id: 'u_7731-canary',
  name: 'Wilhelmina Canary',
  email: 'wilhelmina.canary@acme.example',
}
const identifiers: readonly ErasureIdentifier[] = [
  { kind: 'id', type: 'user', value: canary.id },
  { kind: 'email', value: canary.email },
  { kind: 'other', value: canary.name },
]
const other = { type: 'user', id: 'u_other', name: 'Somebody Else' }
const words = [canary.id, canary.name, canary.email]

async function post(organizationId: string, rest: object): Promise<string> {
  const event = {
    organizationId,
    action: 'document.opened',
    occurredAt: new Date().toISOString(),
    actor: canary,
    targets: [],
    ...rest,
  }
  const answer = await world.request('POST', '/v1/events', { body: event })
  expect(answer.status, answer.text).toBe(201)
  return (answer.body as { id: string }).id
}

interface Spread {
  readonly own: string
  readonly text: string
  readonly exempt: string
  readonly pending: string
}

/** The person as actor and in text, sealed, and once more, not sealed yet. */
async function spread(organizationId: string): Promise<Spread> {
  const own = await post(organizationId, { context: { ip: '198.51.100.7' } })
  const text = await post(organizationId, {
    actor: other,
    description: `call ${canary.name}, ${canary.email}`,
  })
  const exempt = await post(organizationId, { action: 'billing.paid' })
  await drainUntilSealed(world.api.core, organizationId)
  return { own, text, exempt, pending: await post(organizationId, { action: 'document.closed' }) }
}

async function eraseIn(organizationId: string): Promise<void> {
  const run = erasingRun(world.api.core, organizationId, identifiers, {
    exempt: [{ class: 'billing.paid', ground: '17(3)(b)' }],
  })
  await run.scope()
  expect(await run.toVerified()).toBe('clean')
}

const journalFiles = async (): Promise<string[]> => {
  if (world.config.ledger.kind !== 'folder') throw new Error('the ledger of a test is a folder')
  const folder = join(world.config.ledger.folder, 'deployment.journal')
  return (await readdir(folder))
    .filter((name) => !name.startsWith('.'))
    .sort()
    .map((name) => join(folder, name))
}

const read = (organizationId: string, id: string) =>
  world.request('GET', `/v1/organizations/${organizationId}/events/${id}`)

/** Another process's journal and guard. */
const journal = () => {
  const { db } = world.api.core
  return createErasureJournal({ db, store: openStore(world.config.ledger), knows: knownTo(db) })
}

test('a backup from before an erasure serves nothing until the manifests are applied; then the person is unreadable', async () => {
  const { core } = world.api
  const there = await spread('org_a')
  await spread('org_b')
  const othersBefore = await rawHits(core, 'org_b', words)
  const restore = await backupOf(world.api.core)
  await eraseIn('org_a')
  expect(await rawHits(core, 'org_a', words)).toEqual([])
  expect(await core.backups.guard.look()).toBe('fits')
  expect((await read('org_a', there.own)).status).toBe(200)

  await restore()
  expect((await rawHits(core, 'org_a', words)).length).toBeGreaterThan(0)
  // A process that starts now, and one that served all the while and looks again.
  const fresh = createBackupGuard(journal(), logger)
  expect(await fresh.look()).toBe('erasures_unapplied')
  expect(await core.backups.guard.look()).toBe('erasures_unapplied')
  for (const [method, path] of [
    ['GET', `/v1/organizations/org_a/events/${there.own}`],
    ['GET', '/v1/organizations/org_b/events'],
    ['GET', '/v1/organizations/org_a/log/checkpoint'],
    ['POST', '/v1/events'],
    ['POST', '/v1/events/batch'],
  ] as const) {
    const refused = await world.request(method, path, method === 'GET' ? {} : { body: {} })
    expect(refused.status, path).toBe(503)
    expect(refused.body, path).toMatchObject({ code: 'erasures_unapplied' })
    expect(refused.headers.get('retry-after')).not.toBeNull()
    for (const word of words) expect(refused.text).not.toContain(word)
  }
  const ready = await world.request('GET', '/readyz')
  expect(ready.status).toBe(503)
  expect(ready.body).toMatchObject({ checks: { erasureLedger: 'down' } })
  expect((await diagnose(world.config)).find(({ check }) => check === 'erasures')).toMatchObject({
    state: 'failed',
  })

  const applied = await applyErasures(world.config, logger)
  expect(applied).toMatchObject({ entries: 2, subjects: 1, fields: 1 })
  expect(await core.backups.guard.look()).toBe('fits')
  expect(await fresh.look()).toBe('fits')
  expect(await rawHits(core, 'org_a', words)).toEqual([])
  expect(await rawHits(core, 'org_b', words)).toEqual(othersBefore)
  expect((await read('org_a', there.own)).body).toMatchObject({ actor: { type: 'user', erased: true } })
  expect((await read('org_a', there.pending)).body).toMatchObject({ actor: { erased: true } })
  expect((await read('org_a', there.exempt)).body).toMatchObject({ actor: { restricted: true } })
  expect((await read('org_a', there.text)).text).not.toContain('Wilhelmina')
  // Again changes nothing.
  expect(await applyErasures(world.config, logger)).toMatchObject({ entries: 0 })

  // Every proof holds, and what is gone is accounted for in the log that there is now.
  await sealingOf(world).sealer.drainOrganization('org_a')
  const options = { url: world.url, key: world.ownerKey, organization: 'org_a', logKeys: [], values: true }
  const { report } = await verifyServer(options)
  expect(report.findings).toEqual([])
  // Who comes back is somebody new.
  const again = await post('org_a', {})
  expect((await read('org_a', again)).body).toMatchObject({ actor: { name: canary.name } })
})

/** Breaks the nth thing that an application does to the world: before it, or after it. */
function breaking(deps: ReapplyingDependencies, at: number, when: 'before' | 'after', log: Set<string>) {
  let calls = 0
  const guard = <Args extends unknown[], T>(name: string, call: (...args: Args) => Promise<T>) => {
    return async (...args: Args): Promise<T> => {
      calls += 1
      if (calls !== at) return call(...args)
      log.add(`${name} ${when}`)
      if (when === 'after') await call(...args)
      throw new Error('it breaks')
    }
  }
  const { journal, removal, sealer, systemEvents, progress, ledger } = deps
  return {
    ...deps,
    journal: { ahead: () => journal.ahead(), moveTo: guard('moveTo', journal.moveTo.bind(journal)) },
    ledger: { manifest: guard('manifest', ledger.manifest.bind(ledger)) },
    removal: {
      fromHot: guard('fromHot', removal.fromHot.bind(removal)),
      fromRestored: guard('fromRestored', removal.fromRestored.bind(removal)),
    },
    sealer: { drainOrganization: guard('drain', sealer.drainOrganization.bind(sealer)) },
    systemEvents: { write: guard('event', systemEvents.write.bind(systemEvents)) },
    progress: {
      ...progress,
      begin: guard('begin', progress.begin.bind(progress)),
      set: guard('set', progress.set.bind(progress)),
      forget: guard('forget', progress.forget.bind(progress)),
    },
    waitOutLeases: () => Promise.resolve(),
  } satisfies ReapplyingDependencies
}

test('an application that breaks off anywhere is finished by the next one', async () => {
  const { core } = world.api
  const there = await spread('org_a')
  const restore = await backupOf(world.api.core)
  await eraseIn('org_a')
  const broken = new Set<string>()
  for (const when of ['before', 'after'] as const) {
    for (let at = 1; ; at += 1) {
      await restore()
      const before = broken.size
      // A process of its own, which remembers nothing of the log that is lost.
      const other = await openCore(world.config, logger)
      try {
        const faulty = breaking(other.backups.reapplying, at, when, broken)
        const ended = await reapplyErasures(faulty, () => undefined).then(
          () => true,
          () => false,
        )
        if (!ended) {
          const whole = { ...other.backups.reapplying, waitOutLeases: () => Promise.resolve() }
          await reapplyErasures(whole, () => undefined)
        }
        expect(await journal().compare()).toBe('fits')
        expect(await rawHits(core, 'org_a', words), [...broken].at(-1)).toEqual([])
        expect((await other.events.findOne({ _id: `org_a/${there.exempt}` }))?.fields).toContainEqual(
          expect.objectContaining({ slot: 'actor', restricted: expect.any(String) as string }),
        )
        if (ended) break
      } finally {
        await other.close()
      }
      if (broken.size === before && at > 60) throw new Error('it never ends')
    }
  }
  for (const name of [
    'manifest',
    'drain',
    'begin',
    'fromHot',
    'fromRestored',
    'event',
    'set',
    'forget',
    'moveTo',
  ])
    for (const when of ['before', 'after']) expect([...broken]).toContain(`${name} ${when}`)
})

test('a ledger that was set back is an alarm by its name, and takes no further erasure', async () => {
  const { core } = world.api
  await spread('org_a')
  await spread('org_b')
  await eraseIn('org_a')
  const last = (await journalFiles()).at(-1)
  if (last === undefined) throw new Error('nothing was entered')
  await rename(last, `${last}.away`)
  expect(await core.backups.guard.look()).toBe('ledger_behind')
  expect(world.logs()).toContain('"code":"ledger_behind"')
  expect((await diagnose(world.config)).find(({ check }) => check === 'erasures')).toMatchObject({
    state: 'failed',
  })
  await expect(eraseIn('org_b')).rejects.toThrow('behind')
  await rename(`${last}.away`, last)
  expect(await core.backups.guard.look()).toBe('fits')
})

test('entries that do not follow from each other, and manifests that are missing or others, are refused', async () => {
  const { core } = world.api
  await spread('org_a')
  const restore = await backupOf(world.api.core)
  await eraseIn('org_a')
  await restore()
  const [first, second] = await journalFiles()
  if (first === undefined || second === undefined || world.config.ledger.kind !== 'folder')
    throw new Error('nothing was entered')
  const folder = join(world.config.ledger.folder, 'org_a', 'erasures')
  const manifest = (await readdir(folder)).find((name) => name.endsWith('.subjects.json'))
  if (manifest === undefined) throw new Error('there is no manifest')
  await rename(join(folder, manifest), join(folder, `${manifest}.away`))
  await writeFile(join(folder, manifest), '{}')
  await expect(applyErasures(world.config, logger)).rejects.toMatchObject({ code: 'wrong_state' })
  await unlink(join(folder, manifest))
  await rename(join(folder, `${manifest}.away`), join(folder, manifest))

  await rename(first, `${first}.away`)
  await writeFile(first, '{"v":1}')
  expect(await core.backups.guard.look()).toBe('ledger_damaged')
  expect((await world.request('GET', '/v1/organizations')).status).toBe(503)
  await unlink(first)
  await rename(`${first}.away`, first)
  expect(await core.backups.guard.look()).toBe('erasures_unapplied')
  await applyErasures(world.config, logger)
  expect(await rawHits(core, 'org_a', words)).toEqual([])
  expect(await core.backups.guard.look()).toBe('fits')
})
