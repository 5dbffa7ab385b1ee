import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { run } from '../../src/cli/program.js'
import { createOutput } from '../../src/cli/output.js'
import { createLogger } from '../../src/logging.js'
import { copyNameOf, parseCopy } from '../../src/transparency-log/checkpoint-copies/copies.js'
import { openCheckpoint } from '../../src/transparency-log/checkpoint.js'
import { base64 } from '../../src/transparency-log/encoding.js'
import { nodeHasher, nodeNoteCrypto, sha256 } from '../../src/transparency-log/node-crypto.js'
import { ed25519Verifier, parseVerifierKey } from '../../src/transparency-log/note-key.js'
import type { Sealing } from '../../src/transparency-log/sealing.js'
import { logCollections } from '../../src/transparency-log/store.js'
import { checkAnchorProof } from '../../src/transparency-log/anchor/anchor-proof.js'
import { handClock, sealingOf } from '../support/anchoring.js'
import { createLogOracle } from '../support/log-oracle.js'
import { ofAnchor, rollingBack } from '../support/rolling-back.js'
import { accept, openSealingWorld } from '../support/sealing.js'
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
const { backup, copies, grow, head, process, refuses } = rollingBack(
  () => world,
  () => organizationId,
)

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
