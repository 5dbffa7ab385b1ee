import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Document } from 'mongodb'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { run } from '../../src/cli/program.js'
import { createOutput } from '../../src/cli/output.js'
import { createLogger } from '../../src/logging.js'
import { collectionNames } from '../../src/mongo/collections.js'
import { copyNameOf, parseCopy } from '../../src/transparency-log/checkpoint-copies/copies.js'
import { openCheckpoint } from '../../src/transparency-log/checkpoint.js'
import { base64 } from '../../src/transparency-log/encoding.js'
import { nodeHasher, nodeNoteCrypto, sha256 } from '../../src/transparency-log/node-crypto.js'
import { ed25519Verifier, parseVerifierKey } from '../../src/transparency-log/note-key.js'
import { runSealingLoop } from '../../src/transparency-log/sealing-loop.js'
import type { Sealing } from '../../src/transparency-log/sealing.js'
import { logCollections } from '../../src/transparency-log/store.js'
import { checkAnchorProof } from '../../src/transparency-log/anchor/anchor-proof.js'
import { copiesOf, handClock, sealingOf } from '../support/anchoring.js'
import { createLogOracle } from '../support/log-oracle.js'
import { accept, drainAll, openSealingWorld } from '../support/sealing.js'
import { startWitness } from '../support/witness.js'
import type { World } from '../support/world.js'

let world: World
let organizationId: string
let numbered = 0

beforeAll(async () => {
  world = await openSealingWorld()
})
afterAll(() => world.close())
beforeEach(() => {
  numbered += 1
  organizationId = `org_back_${String(numbered)}`
})

const core = () => world.api.core
const copies = () => copiesOf(world.config)
const copiesFolder = () => join(world.config.dataDirectory, 'archive', 'checkpoints')
/** A process of its own: it remembers nothing. */
const process = (): Sealing => sealingOf(world)
const head = async () => {
  const found = await core().sealing.store.head(organizationId)
  if (found === undefined) throw new Error('the log has no head')
  return found
}

async function grow(count = 1, using: Pick<Sealing, 'sealer'> = core().sealing) {
  const accepted = await accept(core(), organizationId, count)
  await using.sealer.drainOrganization(organizationId)
  return accepted
}

const ofLog = [
  collectionNames.events,
  collectionNames.logHeads,
  collectionNames.logTiles,
  collectionNames.logEntries,
]
const ofAnchor = [
  collectionNames.anchorHeads,
  collectionNames.anchorTiles,
  collectionNames.anchorLogs,
  collectionNames.anchorWitnesses,
]

/** A backup of what the logs are made of; the function restores it. */
async function backup(names: readonly string[] = ofLog): Promise<() => Promise<void>> {
  const scope = names === ofLog ? { organizationId } : {}
  const saved = new Map<string, Document[]>()
  // Bytes as they are: numbers of the stored form must not change on the way.
  for (const name of names) {
    saved.set(name, await core().db.collection(name).find(scope, { promoteValues: false }).toArray())
  }
  return async () => {
    for (const [name, documents] of saved) {
      await core().db.collection(name).deleteMany(scope)
      if (documents.length > 0) await core().db.collection(name).insertMany(documents)
    }
  }
}

const refuses = (sealing: Sealing, comparison: string) =>
  expect(sealing.sealer.drainOrganization(organizationId)).rejects.toMatchObject({
    code: 'rolled_back',
    comparison,
  })

test('only what changed is copied, and a copy is the checkpoint itself', async () => {
  await grow()
  const { anchoring } = process()
  expect((await anchoring.copyOnce()).written).toBeGreaterThan(0)
  expect(await anchoring.copyOnce()).toEqual({ written: 0, refused: [], failed: 0 })
  await grow(3)
  expect(await anchoring.copyOnce()).toMatchObject({ written: 1 })
  expect(await copies().read(copyNameOf(organizationId))).toBe((await head()).checkpoint)
  expect(await process().anchoring.copyOnce()).toEqual({ written: 0, refused: [], failed: 0 })
})

test('a database restored from a backup refuses to seal, and the others go on', async () => {
  await grow(2)
  const restore = await backup()
  await grow(3)
  await core().sealing.anchoring.copyOnce()
  const published = await head()
  await restore()
  await accept(core(), organizationId, 1)

  const after = process()
  expect(await after.guard.survey()).toBeGreaterThan(0)
  expect([...after.guard.refused()]).toEqual([[copyNameOf(organizationId), 'behind']])
  await refuses(after, 'behind')
  expect(after.alarms.counts().get('rolled_back')).toBeGreaterThan(0)
  expect(await after.anchoring.copyOnce()).toMatchObject({ refused: [copyNameOf(organizationId)] })
  expect(await copies().read(copyNameOf(organizationId))).toBe(published.checkpoint)

  await accept(core(), 'org_other', 1)
  const stop = new AbortController()
  const loop = runSealingLoop(
    { ...after, logger: createLogger('silent') },
    { partition: 0, partitions: 1, signal: stop.signal },
  )
  while ((await core().events.countDocuments({ organizationId: 'org_other', pending: true })) > 0) {
    await new Promise((done) => setTimeout(done, 20))
  }
  stop.abort()
  await loop
  expect(await core().events.countDocuments({ organizationId, pending: true })).toBe(1)
  await core().sealing.restarter.restart(organizationId)
})

test('a process that runs while its database is restored notices by what it saw last, copied or not', async () => {
  const running = process()
  await grow(2, running)
  const restore = await backup()
  await grow(3, running)
  const published = await head()
  await restore()
  await accept(core(), organizationId, 1)
  await refuses(running, 'behind')
  // It is remembered beyond the process.
  expect(await copies().read(copyNameOf(organizationId))).toBe(published.checkpoint)
  await refuses(process(), 'behind')
  await core().sealing.restarter.restart(organizationId)
})

test('a copy that a running process finds itself behind stops its sealing too', async () => {
  const running = process()
  await grow(2, running)
  await running.anchoring.copyOnce()
  const { checkpoint, size } = await head()
  const note = checkpoint.replace(`\n${String(size)}\n`, `\n${String(size + 5)}\n`)
  await copies().write(copyNameOf(organizationId), note)
  await grow(1, running)
  expect(await running.anchoring.copyOnce()).toMatchObject({ refused: [copyNameOf(organizationId)] })
  await accept(core(), organizationId, 1)
  await refuses(running, 'behind')
  await core().sealing.restarter.restart(organizationId)
})

test('a log that has grown another way than it was published is refused at any size', async () => {
  await grow(2)
  const restore = await backup()
  await grow(1)
  await core().sealing.anchoring.copyOnce()
  await restore()
  // Somebody who seals without the copies.
  await rm(copiesFolder(), { recursive: true, force: true })
  const published = copies()
  for (const count of [1, 200]) {
    await accept(core(), organizationId, count)
    await process().sealer.drainOrganization(organizationId)
    const forked = await head()
    await published.write(copyNameOf(organizationId), await forgedCopy())
    await accept(core(), organizationId, 1)
    await refuses(process(), 'forked')
    expect(await process().restarter.plan(organizationId)).toMatchObject({
      reason: 'forked',
      published: { generation: 1 },
      kept: { size: forked.size },
    })
    await published.remove(copyNameOf(organizationId))
  }
  await drainAll(core())
})

/** A copy of the size that the log had after its fourth leaf, with another root. */
async function forgedCopy(): Promise<string> {
  const { checkpoint } = await head()
  const [origin = ''] = checkpoint.split('\n')
  const root = base64(sha256(Buffer.from('another tree')))
  return `${origin}\n4\n${root}\n\n${checkpoint.slice(checkpoint.indexOf('\u2014'))}`
}

test('a log that is gone altogether is behind its copy', async () => {
  await grow(2)
  await core().sealing.anchoring.copyOnce()
  const { generation, size } = await head()
  const { heads, tiles, entries } = logCollections(core().db)
  for (const collection of [heads, tiles, entries]) await collection.deleteMany({ organizationId })
  await accept(core(), organizationId, 1)
  await refuses(process(), 'behind')
  expect(await core().sealing.restarter.restart(organizationId)).toMatchObject({
    published: { generation, size },
    kept: undefined,
    generation: 2,
  })
})

test('what cannot be compared is refused: a copy that is not whole, or cannot be read', async () => {
  await grow(1)
  await core().sealing.anchoring.copyOnce()
  const name = copyNameOf(organizationId)
  const digest = Buffer.from(sha256(Buffer.from(name))).toString('hex')
  const folder = join(copiesFolder(), digest.slice(0, 2))
  await accept(core(), organizationId, 1)
  for (const content of [`${name}\nannals.local/`, 'org/another\nthing\n', '']) {
    await writeFile(join(folder, digest), content)
    await refuses(process(), 'unreadable')
  }
  // A store that cannot be read is not a store without the copy.
  await rm(folder, { recursive: true, force: true })
  await writeFile(folder, '')
  await expect(process().sealer.drainOrganization(organizationId)).rejects.toMatchObject({
    code: 'unavailable',
  })
  const sealing = process()
  expect((await sealing.anchoring.copyOnce()).failed).toBeGreaterThan(0)
  await rm(folder)
  expect(await sealing.anchoring.copyOnce()).toMatchObject({ failed: 0 })
  await sealing.sealer.drainOrganization(organizationId)
  expect(await core().events.countDocuments({ organizationId, pending: true })).toBe(0)
})

test('a restart opens a generation whose first leaf says what was lost, and everything verifies', async () => {
  const kept = await grow(2)
  const restore = await backup()
  await grow(300)
  await core().sealing.anchoring.copyOnce()
  const published = await head()
  await restore()
  const left = await head()
  const pending = await accept(core(), organizationId, 2)
  const other = process()
  await refuses(other, 'behind')

  const { restarter } = core().sealing
  const planned = await restarter.plan(organizationId)
  expect(planned).toMatchObject({
    reason: 'behind',
    published: { generation: 1, size: published.size },
    kept: { size: left.size },
    generation: 2,
  })
  await restarter.restart(organizationId)
  await expect(restarter.plan(organizationId)).rejects.toMatchObject({ code: 'wrong_state' })
  await expect(restarter.restart(organizationId)).rejects.toMatchObject({ code: 'wrong_state' })
  expect(await head()).toMatchObject({ generation: 2, size: 1 })

  // The process that refused goes on, with the events that waited.
  await other.sealer.drainOrganization(organizationId)
  expect(await head()).toMatchObject({ generation: 2, size: 3 })
  expect(other.guard.refused().size).toBe(0)
  expect(await createLogOracle(core(), [organizationId]).findings([...kept, ...pending])).toEqual([])

  const [first] = (await core().sealing.store.leaves(organizationId, 2, 0)) ?? []
  const event = await world.request(
    'GET',
    `/v1/organizations/${organizationId}/events/${first?.eventId ?? ''}`,
  )
  expect(event.body).toMatchObject({
    action: 'annals.log.restarted',
    metadata: {
      reason: 'behind',
      generation: 1,
      size: published.size,
      rootHash: base64(published.root),
      keptGeneration: 1,
      keptSize: left.size,
      keptRootHash: base64(left.root),
      newGeneration: 2,
    },
  })
  // Both generations are served, each under its own origin and keys.
  for (const [generation, size] of [
    [1, left.size],
    [2, 3],
  ] as const) {
    const prefix = `/v1/organizations/${organizationId}/log/${String(generation)}`
    const keys = (await world.request('GET', `${prefix}/keys`)).text.trim().split('\n')
    const logKeys = keys.map((key) => ed25519Verifier(parseVerifierKey(key, sha256), nodeNoteCrypto))
    const origin = `annals.local/${organizationId}/${String(generation)}`
    const note = (await world.request('GET', `${prefix}/checkpoint`)).text
    expect(openCheckpoint(note, { origin, logKeys })).toMatchObject({ size })
  }
  // A backup from before the restart is behind it as well; the number of its generation is not used again.
  await restore()
  await refuses(process(), 'behind')
  expect(await core().sealing.restarter.restart(organizationId)).toMatchObject({ generation: 3 })
})

test('if the process dies between the restart and its copy, the next copy says the same', async () => {
  await grow(2)
  const restore = await backup()
  await grow(1)
  await core().sealing.anchoring.copyOnce()
  const note = (await head()).checkpoint
  await restore()
  await core().sealing.restarter.restart(organizationId)
  await copies().write(copyNameOf(organizationId), note)
  const after = process()
  await grow(1, after)
  expect(await after.anchoring.copyOnce()).toMatchObject({ refused: [] })
  const name = copyNameOf(organizationId)
  expect(parseCopy(name, (await copies().read(name)) ?? '')).toMatchObject({ generation: 2, size: 2 })
})

test('a log whose tiles do not fit together can be restarted too', async () => {
  await grow(5)
  await core().sealing.anchoring.copyOnce()
  const published = await head()
  await logCollections(core().db).tiles.deleteMany({ organizationId, level: 0 })
  expect(await core().sealing.restarter.restart(organizationId)).toMatchObject({
    reason: 'damaged',
    published: { size: published.size },
  })
  await grow(1, process())
  expect(await head()).toMatchObject({ generation: 2, size: 2 })
})

async function annals(...argumentList: string[]): Promise<{ code: number; out: string; error: string }> {
  const texts = { out: '', error: '' }
  const streams = {
    out: { write: (text: unknown) => Boolean((texts.out += String(text))) },
    error: { write: (text: unknown) => Boolean((texts.error += String(text))) },
  }
  const unused = () => Promise.reject(new Error('not used'))
  const output = createOutput(argumentList.includes('--json'), streams)
  const code = await run(
    argumentList,
    {
      services: {
        openApi: unused,
        openKeys: unused,
        setup: unused,
        up: unused,
        openLog: () => Promise.resolve({ ...core().sealing, close: () => Promise.resolve() }),
      },
      loadConfig: () => world.config,
      createLogger: () => createLogger('silent'),
      output: () => output,
    },
    output,
  )
  return { code, ...texts }
}

test('annals log restart says what it would do, does it with --yes, and refuses where there is no need', async () => {
  await grow(1)
  const restore = await backup()
  await grow(2)
  await core().sealing.anchoring.copyOnce()
  expect(await annals('log', 'restart', '--organization', organizationId, '--yes')).toMatchObject({ code: 5 })
  await restore()
  const planned = await annals('log', 'restart', '--organization', organizationId)
  expect(planned).toMatchObject({ code: 0 })
  expect(planned.out).toContain('generation 1, 4 leaves')
  expect(planned.out).toContain('Nothing was changed')
  expect(await head()).toMatchObject({ generation: 1 })
  const done = await annals('--json', 'log', 'restart', '--organization', organizationId, '--yes')
  expect(JSON.parse(done.out)).toMatchObject({
    organizationId,
    restarted: true,
    reason: 'behind',
    published: { generation: 1, size: 4 },
    kept: { generation: 1, size: 2 },
    generation: 2,
  })
  expect(await head()).toMatchObject({ generation: 2, size: 1 })
  expect(await annals('log', 'restart', '--organization', 'org_nobody', '--yes')).toMatchObject({ code: 5 })
  expect(await annals('log', 'restart')).toMatchObject({ code: 2 })
  expect(await annals('log', 'restart', '--organization', 'a b')).toMatchObject({ code: 2 })
})

test('an anchor log that was set back makes no entry, until it is restarted under another origin', async () => {
  const clock = handClock()
  const witness = await startWitness('witness.example/restart')
  try {
    const sealing = () => sealingOf(world, { now: clock.now, witnesses: [witness] })
    const { keys } = core().sealing.anchoring
    witness.trust(keys.origin(1), await keys.verifierKeys(1))
    witness.trust(keys.origin(2), await keys.verifierKeys(2))
    const anchor = async (using: Sealing) => {
      clock.pass(60_000)
      await grow(1)
      return using.anchoring.anchorOnce()
    }
    expect(await anchor(sealing())).toBe('anchored')
    const restore = await backup(ofAnchor)
    const running = sealing()
    expect(await anchor(running)).toBe('anchored')
    await running.anchoring.witnessOnce()
    await running.anchoring.copyOnce()
    await restore()
    await expect(anchor(running)).rejects.toMatchObject({ code: 'rolled_back', log: 'anchor' })
    const after = sealing()
    await expect(anchor(after)).rejects.toMatchObject({ code: 'rolled_back', comparison: 'behind' })
    // The witness would not be shown a second history either.
    expect(await after.anchoring.witnessOnce()).toMatchObject([{ state: 'ahead' }])
    expect(await annals('log', 'restart', '--anchor', '--yes')).toMatchObject({ code: 0 })
    expect(await annals('log', 'restart', '--anchor', '--yes')).toMatchObject({ code: 5 })

    expect(await anchor(after)).toBe('anchored')
    expect(await after.anchoring.witnessOnce()).toMatchObject([{ state: 'cosigned' }])
    const proof = await after.anchoring.anchorProof(organizationId)
    if (proof === undefined) throw new Error('there is no proof')
    const logKeys = (await keys.verifierKeys(2)).map((key) => ed25519Verifier(key, nodeNoteCrypto))
    const checked = checkAnchorProof(proof, { origin: 'annals.local/anchor.2', logKeys }, nodeHasher)
    expect(checked.checkpoint.size).toBe(1)
    for (const [path, origin] of [
      ['1/checkpoint', 'annals.local/anchor\n1\n'],
      ['2/checkpoint', 'annals.local/anchor.2\n1\n'],
      ['checkpoint', 'annals.local/anchor.2\n1\n'],
    ] as const) {
      expect((await world.request('GET', `/v1/anchor/${path}`, { key: '' })).text).toContain(origin)
    }
  } finally {
    await witness.stop()
  }
})
