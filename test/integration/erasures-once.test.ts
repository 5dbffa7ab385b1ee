/** Every change of a request × {fails before its commit, is made and answers with an error, runs twice at once}; one oracle. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { ErasureReference } from '../../src/erasure/contract.js'
import type { Advance } from '../../src/erasure/changes.js'
import { createErasureRecorder, type ErasureRecorder } from '../../src/erasure/recorder.js'
import type { ActionFacts, ErasureActionDocument } from '../../src/erasure/store.js'
import { erasureKey } from '../../src/erasure/store.js'
import { newId } from '../../src/ids.js'
import { openErasureWorld, organizationId, principals, type ErasureWorld } from './erasures-world.js'

let world: ErasureWorld

beforeAll(async () => {
  // No worker: here a change is made by nobody but the test.
  world = await openErasureWorld()
})
afterAll(() => world.close())

class Injected extends Error {}

/** A recorder whose transactions abort at their last write. */
function aborting(): ErasureRecorder {
  const { core } = world.api
  const fail = () => Promise.reject(new Injected('before the commit'))
  return createErasureRecorder({
    store: { ...core.erasures.store, setOutcome: fail },
    events: { writeInTransaction: fail },
    client: core.client,
  })
}

/** What must hold after every attempt, whatever became of it. */
async function check(request: ErasureReference): Promise<void> {
  const { core } = world.api
  const document = await core.erasures.store.find(request)
  if (document === null) throw new Error('the request is gone')
  const { evidence, version, state } = document
  // One version a change, one line a change (a submission is version 1), and the last line says where it stands.
  expect(version).toBe(evidence.length)
  expect(evidence.at(-1)?.state).toBe(state)
  expect(new Set(evidence.map(({ event, at }) => `${event}/${at.toISOString()}`)).size).toBe(evidence.length)
  const spoken: Readonly<Record<string, string>> = {
    submitted: 'submitted',
    approve: 'approved',
    deny: 'denied',
    extend: 'extended',
    withdraw: 'withdrawn',
    reminded: 'reminded',
    overdue: 'overdue',
    nothing_remains: 'completed',
    exceptions_remain: 'completed',
    matched_nothing: 'closed',
    identity_failed: 'closed',
  }
  const expected = evidence.flatMap(({ event }) => spoken[event] ?? [])
  expect((await world.events(request.requestId)).sort()).toEqual([...expected].sort())
  // An action that was applied has its line, and one that has none was not.
  const actions = await core.db
    .collection<ErasureActionDocument>('erasureActions')
    .find({ requestId: request.requestId })
    .toArray()
  const applied = actions.filter(({ outcome }) => outcome?.applied === true)
  const acts = [
    'identity_verified',
    'identity_failed',
    'approve',
    'deny',
    'extend',
    'withdraw',
    'attest',
    'retry',
  ]
  expect(evidence.filter(({ event }) => acts.includes(event))).toHaveLength(applied.length)
}

async function stored(
  request: ErasureReference,
  action: ErasureActionDocument['action'],
  facts: ActionFacts = {},
) {
  const { core } = world.api
  const actionId = newId('eact')
  await core.erasures.store.insertAction({
    _id: erasureKey(organizationId, actionId),
    ...request,
    actionId,
    action,
    businessKey: actionId,
    bodyFingerprint: Buffer.alloc(32),
    principal: principals.second,
    at: new Date(),
    facts,
    sealedWords: null,
    outcome: null,
  })
  return actionId
}

type Change = (recorder: ErasureRecorder) => Promise<unknown>

/** Makes a change after every fault, and twice at once. */
async function hardly(request: ErasureReference, change: Change, silent = false): Promise<void> {
  const { recorder } = world.api.core.erasures
  // What writes neither event nor outcome has no last write to abort.
  if (!silent) await expect(change(aborting())).rejects.toThrow(Injected)
  await check(request)
  const [one, two] = await Promise.all([change(recorder), change(recorder)])
  expect(two).toEqual(one)
  await check(request)
  // Its answer was lost: once more.
  await change(recorder)
  await check(request)
}

test('each change of a request happens once, or not at all, whatever fails', async () => {
  const requestId = await world.submit()
  const request = { organizationId, requestId }
  const { recorder } = world.api.core.erasures
  const advance =
    (event: Advance['event'], version: number, rest: Partial<Advance> = {}): Change =>
    (by) =>
      by.advance(request, { event, version, at: new Date(1_800_000_000_000 + version), ...rest })
  const act = async (action: ErasureActionDocument['action'], facts?: ActionFacts): Promise<Change> => {
    const actionId = await stored(request, action, facts)
    return (by) => by.applyAction(request, actionId)
  }
  const version = async () => (await recorder.snapshot(request)).version
  const silently = (change: Change) => hardly(request, change, true)

  await silently(advance('begin', await version()))
  await hardly(request, await act('verifyIdentity', { result: 'verified' }))
  await silently(advance('scoped', await version()))
  await hardly(request, await act('extend'))
  await hardly(request, (by) => by.remind(request, new Date(1_000), new Date()))
  await hardly(request, (by) => by.escalate(request, new Date()))
  await hardly(request, await act('approve', { exempt: [{ class: 'account', ground: '17(3)(b)' }] }))
  await silently(advance('cool_off', await version()))
  await silently(advance('cooling_off_over', await version()))
  await silently(advance('prepared', await version()))
  await silently(advance('stopped', await version(), { reason: 'archive_unavailable', targets: ['archive'] }))
  await hardly(request, await act('attest', { target: 'log_files' }))
  await hardly(request, await act('retry'))
  await silently(advance('erased', await version()))
  await silently(advance('residue_found', await version(), { reason: 'residue_found', targets: ['events'] }))
  await hardly(request, await act('retry'))
  await silently(advance('erased', await version()))
  await silently(advance('verified_clean', await version()))
  await silently(advance('notified', await version()))
  await hardly(request, advance('nothing_remains', await version()))
  expect(await recorder.snapshot(request)).toMatchObject({ state: 'completed' })
})

test('of a withdrawal and the fence at once one wins, and the request says which', async () => {
  const { recorder } = world.api.core.erasures
  for (let round = 0; round < 8; round += 1) {
    const request = { organizationId, requestId: await world.submit() }
    const step = async (event: Advance['event']) => {
      const { version } = await recorder.snapshot(request)
      await recorder.advance(request, { event, version, at: new Date() })
    }
    await recorder.applyAction(request, await stored(request, 'verifyIdentity', { result: 'verified' }))
    await step('scoped')
    await recorder.applyAction(request, await stored(request, 'approve'))
    await step('cool_off')
    const withdrawal = await stored(request, 'withdraw')
    const [{ outcome }] = await Promise.all([
      recorder.applyAction(request, withdrawal),
      step('cooling_off_over'),
    ])
    const { state } = await recorder.snapshot(request)
    expect(state).toBe(outcome.applied ? 'withdrawn' : 'fenced')
    await check(request)
  }
})

test('a submitter’s approval that got past the API is refused where it is applied', async () => {
  const { core } = world.api
  const request = { organizationId, requestId: await world.submit() }
  const { recorder } = core.erasures
  await recorder.applyAction(request, await stored(request, 'verifyIdentity', { result: 'verified' }))
  const { version } = await recorder.snapshot(request)
  await recorder.advance(request, { event: 'scoped', version, at: new Date() })
  const actionId = await stored(request, 'approve')
  await core.db
    .collection<ErasureActionDocument>('erasureActions')
    .updateOne({ actionId }, { $set: { principal: principals.first } })
  const { outcome, snapshot } = await recorder.applyAction(request, actionId)
  expect([outcome.applied, outcome.code, snapshot.state]).toEqual([false, 'four_eyes', 'review'])
})
