/** A world whose anchor log a test makes entries of, by the test's own clock, and shows to witnesses of the test's own. */
import { afterAll, afterEach, beforeAll, expect } from 'vitest'
import type { AnchorHeadDocument } from '../../src/transparency-log/anchor/anchor-store.js'
import type { TrustedLog } from '../../src/transparency-log/checkpoint.js'
import { cosignatureVerifier } from '../../src/transparency-log/cosignature.js'
import { nodeNoteCrypto, sha256 } from '../../src/transparency-log/node-crypto.js'
import { ed25519Verifier, parseVerifierKey, type VerifierKey } from '../../src/transparency-log/note-key.js'
import type { Sealing } from '../../src/transparency-log/sealing.js'
import { createAnchorOracle, type AnchorOracle } from './anchor-oracle.js'
import { handClock, sealingOf } from './anchoring.js'
import { accept, drainAll } from './sealing.js'
import { startWitness, type Witness } from './witness.js'
import { openWorld, type World } from './world.js'

export const minute = 60_000

/** Opened before the tests of the file that calls it; after each of them the oracle looks at the whole anchor log. */
export function useAnchoredWorld() {
  let world: World
  let oracle: AnchorOracle
  /** Those of this test, and of all. */
  const witnesses: Witness[] = []
  const everyKey: VerifierKey[] = []
  const clock = handClock()
  const core = () => world.api.core

  beforeAll(async () => {
    world = await openWorld()
    oracle = createAnchorOracle(core())
  })
  afterAll(() => world.close())
  afterEach(async () => {
    await Promise.all(witnesses.splice(0).map((witness) => witness.stop()))
    expect(await oracle.findings(everyKey)).toEqual([])
  })

  const log = (using: readonly Witness[] = witnesses): Sealing =>
    sealingOf(world, { now: clock.now, witnesses: using.map(({ url, key }) => ({ url, key })) })

  /** Something new to anchor. */
  async function grow(organizationId = 'org_anchored', count = 1): Promise<void> {
    await accept(core(), organizationId, count)
    await drainAll(core())
  }

  async function anchored(sealing: Sealing): Promise<void> {
    clock.pass(minute)
    await grow()
    expect(await sealing.anchoring.anchorOnce()).toBe('anchored')
  }

  /** A witness that is stopped after the test; it trusts nobody yet. */
  async function stranger(name: string): Promise<Witness> {
    const made = await startWitness(name)
    witnesses.push(made)
    everyKey.push(made.key)
    return made
  }

  /** A witness that trusts this deployment's anchor log. */
  async function witness(name: string): Promise<Witness> {
    const made = await stranger(name)
    const { keys } = core().sealing.anchoring
    made.trust(keys.origin(1), await keys.verifierKeys(1))
    return made
  }

  const get = (path: string) => world.request('GET', `/v1/anchor/${path}`, { key: '' })

  async function bytes(path: string): Promise<Buffer> {
    const answer = await fetch(`${world.url}/v1/anchor/${path}`)
    expect(answer.status).toBe(200)
    return Buffer.from(await answer.arrayBuffer())
  }

  /** As whoever checks it has it: by the keys that are served, and those witnesses. */
  async function anchorLog(using: readonly Witness[] = witnesses): Promise<TrustedLog> {
    const { text } = await get('keys')
    const logKeys = text
      .trim()
      .split('\n')
      .map((line) => ed25519Verifier(parseVerifierKey(line, sha256), nodeNoteCrypto))
    const witnessKeys = using.map(({ key }) => cosignatureVerifier(key, nodeNoteCrypto))
    return { origin: 'annals.local/anchor', logKeys, witnessKeys }
  }

  async function head(): Promise<AnchorHeadDocument> {
    const found = await core().sealing.anchoring.store.head()
    if (found === undefined) throw new Error('nothing was anchored')
    return found
  }

  return {
    core,
    clock,
    witnesses,
    log,
    grow,
    anchored,
    stranger,
    witness,
    get,
    bytes,
    anchorLog,
    head,
    findings: () => oracle.findings(everyKey),
    url: () => world.url,
  }
}
