/** Witnesses: who is shown the anchor log, what they answer, and what of it is believed. */
import { expect, test } from 'vitest'
import { checkAnchorProof } from '../../src/transparency-log/anchor/anchor-proof.js'
import { anchorCollections } from '../../src/transparency-log/anchor/anchor-store.js'
import { openCheckpoint } from '../../src/transparency-log/checkpoint.js'
import { nodeHasher } from '../../src/transparency-log/node-crypto.js'
import { minute, useAnchoredWorld } from '../support/anchored-world.js'

const { anchored, anchorLog, clock, core, get, head, log, stranger, witness, witnesses } = useAnchoredWorld()

test('a checkpoint is shown to every witness, and served with their cosignatures', async () => {
  await witness('witness.example/one')
  await witness('witness.example/two')
  const sealing = log()
  await anchored(sealing)
  const before = openCheckpoint((await get('checkpoint')).text, await anchorLog())
  expect(before.cosignatures).toHaveLength(0)
  expect((await sealing.anchoring.witnessOnce()).map(({ state, cosigned }) => [state, cosigned])).toEqual([
    ['cosigned', true],
    ['cosigned', true],
  ])
  const after = openCheckpoint((await get('checkpoint')).text, await anchorLog())
  expect(after).toMatchObject({ size: before.size })
  expect(after.cosignatures).toHaveLength(2)
  // Nothing is asked twice.
  await sealing.anchoring.witnessOnce()
  expect(witnesses.map(({ answers }) => answers)).toEqual([[200], [200]])
  // The next one by a proof from what they have; the proof for a receipt carries their cosignatures.
  await anchored(sealing)
  await sealing.anchoring.witnessOnce()
  expect(witnesses.map(({ answers }) => answers)).toEqual([
    [200, 200],
    [200, 200],
  ])
  const proof = await sealing.anchoring.anchorProof('org_anchored')
  if (proof === undefined) throw new Error('there is no proof')
  expect(checkAnchorProof(proof, await anchorLog(), nodeHasher).checkpoint.cosignatures).toHaveLength(2)
})

test('a witness that is down costs the others nothing, and is asked again later', async () => {
  const down = await witness('witness.example/down')
  const up = await witness('witness.example/up')
  await down.stop()
  const sealing = log()
  await anchored(sealing)
  const states = async () => (await sealing.anchoring.witnessOnce()).map(({ state }) => state)
  expect(await states()).toEqual(['unreachable', 'cosigned'])
  await down.start()
  // Not at once: it was just asked.
  expect(await states()).toEqual(['unreachable', 'cosigned'])
  clock.pass(minute)
  expect(await states()).toEqual(['cosigned', 'cosigned'])
  expect(up.answers).toEqual([200])
})

test('a witness that is behind or ahead of what is thought is asked again from where it is', async () => {
  const one = await witness('witness.example/behind')
  const sealing = log()
  await anchored(sealing)
  await sealing.anchoring.witnessOnce()
  const { witnesses: known } = anchorCollections(core().db)
  const _id = `1/witness.example/behind+${one.key.keyId.toString(16).padStart(8, '0')}`
  // It knows less than is thought, as after a loss of its own; and nothing is known of it, as after a loss of ours.
  for (const size of [1, 0]) {
    await known.updateOne({ _id }, { $set: { size } })
    await anchored(sealing)
    expect((await sealing.anchoring.witnessOnce())[0]).toMatchObject({ state: 'cosigned' })
  }
  expect(one.answers).toEqual([200, 409, 200, 409, 200])
  expect(one.seen('annals.local/anchor')?.size).toBe((await head()).size)
})

test('what a witness refuses is told apart: another log, another key, a proof', async () => {
  const unknown = await stranger('witness.example/stranger')
  const otherKey = await stranger('witness.example/key')
  otherKey.trust('annals.local/anchor', [{ ...unknown.key, type: 'ed25519', name: 'annals.local/anchor' }])
  const strict = await witness('witness.example/strict')
  strict.behave((_request, response) => {
    response.writeHead(422).end()
    return true
  })
  const sealing = log([unknown, otherKey, strict])
  await anchored(sealing)
  const states = (await sealing.anchoring.witnessOnce()).map(({ state }) => state)
  expect(states).toEqual(['unknown_log', 'unknown_key', 'refused_proof'])
})

test.each([
  ['a signature by another key', (other: string) => other, 'bad_cosignature'],
  ['a cosignature of another text', () => 'WRONG', 'bad_cosignature'],
  ['no signature line', () => 'yes\n', 'bad_answer'],
  ['nothing', () => '', 'bad_answer'],
  ['a signature line without an end', (other: string) => other.trim(), 'bad_answer'],
] as const)('a lying witness that answers with %s is not believed', async (_what, lie, state) => {
  const liar = await witness('witness.example/liar')
  const other = await witness('witness.example/other')
  const sealing = log([other])
  await anchored(sealing)
  await sealing.anchoring.witnessOnce()
  const stolen = `${(await head()).cosignatures[0]?.line ?? ''}\n`
  const wrong = stolen
    .replace('witness.example/other', 'witness.example/liar')
    .replace(/ [A-Za-z0-9+/=]+\n/, () => {
      const id = Buffer.alloc(4)
      id.writeUInt32BE(liar.key.keyId)
      return ` ${Buffer.concat([id, Buffer.alloc(72, 1)]).toString('base64')}\n`
    })
  liar.behave((_request, response) => {
    const body = lie(stolen)
    response.writeHead(200).end(body === 'WRONG' ? wrong : body)
    return true
  })
  const reports = await log([liar, other]).anchoring.witnessOnce()
  expect(reports).toMatchObject([
    { state, cosigned: false },
    { state: 'cosigned', cosigned: true },
  ])
  expect((await head()).cosignatures).toHaveLength(1)
  const opened = openCheckpoint((await get('checkpoint')).text, await anchorLog([liar, other]))
  expect(opened.cosignatures).toHaveLength(1)
})

test.each([
  ['a redirect', 302, { location: '/prefix/elsewhere' }, '', 'bad_answer'],
  ['no number in its 409', 409, {}, 'many\n', 'bad_answer'],
  ['the same size in its 409 for ever', 409, {}, '1\n', 'bad_answer'],
  ['its own failure', 500, {}, '', 'unreachable'],
  ['an answer without end', 200, {}, 'x'.repeat(100_000), 'unreachable'],
] as const)('a witness that answers with %s is left alone', async (_what, status, headers, body, state) => {
  const odd = await witness('witness.example/odd')
  const sealing = log()
  await anchored(sealing)
  let asked = 0
  odd.behave((_request, response) => {
    asked += 1
    response.writeHead(status, headers).end(body)
    return true
  })
  expect(await sealing.anchoring.witnessOnce()).toMatchObject([{ state, cosigned: false }])
  expect(asked).toBeLessThanOrEqual(3)
})

test('a witness that has seen a larger log, or another one of this size, raises an alarm', async () => {
  const sealing = log(await Promise.all([witness('witness.example/ahead'), witness('witness.example/other')]))
  const [ahead, conflict] = witnesses
  await anchored(sealing)
  const { size } = await head()
  for (const [one, answered] of [
    [ahead, size + 1],
    [conflict, size],
  ] as const) {
    one?.behave((_request, response) => {
      response.writeHead(409, { 'content-type': 'text/x.tlog.size' }).end(`${String(answered)}\n`)
      return true
    })
  }
  expect((await sealing.anchoring.witnessOnce()).map(({ state }) => state)).toEqual(['ahead', 'conflict'])
  expect(sealing.alarms.counts().get('witness_conflict')).toBe(2)
})

test('if the process dies between the entry and the witnesses, the next one shows it to them', async () => {
  const one = await witness('witness.example/after')
  const first = log()
  await anchored(first)
  // Another process, which knows nothing of the first one.
  const second = log()
  expect(await second.anchoring.anchorOnce()).toBe('too_soon')
  expect(await second.anchoring.witnessOnce()).toMatchObject([{ state: 'cosigned' }])
  expect(one.seen('annals.local/anchor')?.size).toBe((await head()).size)
})
