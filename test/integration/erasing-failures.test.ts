/** Every effect of the erasing steps × {fails before it, takes effect and then fails}; the oracle after each; then on to the end. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { failureOf } from '../../activities/erasing.js'
import { NotApprovedError } from '../../src/erasure/begun.js'
import { createErasing, type ErasingDependencies } from '../../src/erasure/erasing.js'
import { KeyError } from '../../src/keys/wrapping.js'
import { SubjectStateError } from '../../src/subjects/fence.js'
import { subjectDocumentId } from '../../src/subjects/store.js'
import { checkErasure, rawHits } from '../support/erasure-oracle.js'
import { erasingRun, type ErasingRun } from '../support/erasing.js'
import { failing, Injected, type Fault } from '../support/failing.js'
import { drainUntilSealed } from '../support/sealing.js'
import { openWorld, type World } from '../support/world.js'

let world: World
beforeAll(async () => {
  world = await openWorld()
})
afterAll(async () => {
  await world.close()
})

const unknown = () => Promise.resolve(undefined)
const nothing = () => undefined
let organizations = 0
const newOrganization = () => `org_fail_${String((organizations += 1))}`

const name = 'Franz Failure-Canary'
const person = { type: 'user', id: 'u_failure-9', name, email: 'franz.failure@acme.example' }
const identifiers = [
  { kind: 'id' as const, type: 'user', value: person.id },
  { kind: 'other' as const, value: name },
]
const canaries = [person.id, person.email, name]

async function post(organizationId: string, rest: object, status = 201) {
  const body = {
    organizationId,
    action: 'document.opened',
    occurredAt: new Date().toISOString(),
    actor: person,
    targets: [],
    ...rest,
  }
  const answer = await world.request('POST', '/v1/events', { body })
  expect(answer.status, answer.text).toBe(status)
  return answer.body as { id: string }
}

/** Three events: of the person, about the person, and one that waits for its leaf. */
async function seed(organizationId: string): Promise<void> {
  await post(organizationId, {})
  await post(organizationId, { actor: { type: 'service', id: 'x' }, description: `for ${name}` })
  await drainUntilSealed(world.api.core, organizationId)
  await post(organizationId, { targets: [person], actor: { type: 'user', id: 'u_someone-else' } })
}

const withFault =
  (fault: Fault) =>
  (deps: ErasingDependencies): ErasingDependencies => ({
    ...deps,
    // Leases last seconds, and no other process holds any here.
    fence: failing(
      { ...deps.fence, waitOutLeases: () => Promise.resolve() },
      ['raise', 'destroyKeys'],
      fault,
    ),
    progress: failing(deps.progress, ['begin', 'set', 'addTexts'], fault),
    sealer: failing(deps.sealer, ['drainOrganization'], fault),
    systemEvents: failing(deps.systemEvents, ['write'], fault),
    ledger: failing(deps.ledger, ['putManifest', 'append'], fault),
    targets: deps.targets.map((target) => failing(target, ['erase', 'verify'], fault)),
  })

/** Runs the steps as Temporal does: one that failed is run again. */
async function persist(run: ErasingRun, onFailure: () => Promise<void>): Promise<number> {
  let failures = 0
  const steps = [
    () => run.erasing.fence(run, nothing),
    () => run.erasing.prepare(run, nothing),
    () => run.erasing.erase(run, nothing),
    async () => expect(await run.erasing.verify(run, nothing)).toEqual({ result: 'clean' }),
    () => run.completing.complete(run, unknown),
  ]
  for (const step of steps) {
    for (let attempt = 0; ; attempt += 1) {
      try {
        await step()
        break
      } catch (error) {
        if (!(error instanceof Injected) || attempt > 3) throw error
        failures += 1
        await onFailure()
      }
    }
  }
  return failures
}

describe('whatever fails, and whenever, the erasure ends as if nothing had', () => {
  test.each(['before', 'after'] as const)('%s it took effect', async (when) => {
    for (let at = 1; ; at += 1) {
      const organizationId = newOrganization()
      await seed(organizationId)
      const fault: Fault = { calls: 0, at, when }
      const run = erasingRun(world.api.core, organizationId, identifiers, { deps: withFault(fault) })
      await run.scope()
      fault.calls = 0
      const failures = await persist(run, () => checkErasure(world.api.core, run, 3))
      // From here on nothing fails.
      fault.calls = at + 1
      await checkErasure(world.api.core, run, 3)
      expect(await rawHits(world.api.core, organizationId, canaries), `fault ${String(at)}`).toEqual([])
      const entries = []
      for await (const entry of run.deps.ledger.entries(organizationId)) entries.push(entry)
      expect(entries).toMatchObject([{ sequence: 1, requestId: run.requestId }])
      const sealed = world.api.core.events.countDocuments({ organizationId, action: /^annals\.subject\./ })
      expect(await sealed).toBe(2)
      if (failures === 0) break
      expect(at).toBeLessThan(100)
    }
  })
})

describe('what is not as it should be is an error, and never "erased"', () => {
  const subjectsOf = () =>
    world.api.core.db.collection<{ _id: string; state: string; key?: object; erasure?: string }>('subjects')

  async function scoped(organizationId: string): Promise<{ run: ErasingRun; subjectId: string }> {
    await seed(organizationId)
    const run = erasingRun(world.api.core, organizationId, identifiers, {
      deps: withFault({ calls: 0, at: 0, when: 'before' }),
    })
    await run.scope()
    return { run, subjectId: subjectDocumentId(organizationId, run.report().subjects[0] ?? '') }
  }

  test('a subject that another request fenced', async () => {
    const { run, subjectId } = await scoped(newOrganization())
    await subjectsOf().updateOne({ _id: subjectId }, { $set: { state: 'fenced', erasure: 'erasure_other' } })
    await expect(run.erasing.fence(run, nothing)).rejects.toThrow(SubjectStateError)
  })

  test('a key that is missing', async () => {
    const { run, subjectId } = await scoped(newOrganization())
    await subjectsOf().updateOne({ _id: subjectId }, { $unset: { key: '' } })
    await expect(run.erasing.fence(run, nothing)).rejects.toThrow(KeyError)
    expect(await subjectsOf().findOne({ _id: subjectId })).toMatchObject({ state: 'active' })
  })

  test('a key that does not open, as under a wrong root key', async () => {
    const { run, subjectId } = await scoped(newOrganization())
    const document = await subjectsOf().findOne({ _id: subjectId })
    const wrapped = Buffer.alloc(60, 7)
    await subjectsOf().updateOne({ _id: subjectId }, { $set: { key: { ...document?.key, wrapped } } })
    await expect(run.erasing.fence(run, nothing)).rejects.toThrow(KeyError)
    expect(await subjectsOf().findOne({ _id: subjectId })).toMatchObject({ state: 'active' })
    expect(
      await world.api.core.db.collection('directory').countDocuments({ organizationId: run.organizationId }),
    ).toBe(3)
  })

  test('a manifest under whose name another one lies', async () => {
    const { run } = await scoped(newOrganization())
    await run.deps.ledger.putManifest({
      path: `${run.organizationId}/erasures/${run.requestId}.subjects.json`,
      bytes: Buffer.from('{}'),
      sha256: '',
    })
    await run.erasing.fence(run, nothing)
    await expect(run.erasing.prepare(run, nothing)).rejects.toThrow('another manifest')
    await expect(run.erasing.erase(run, nothing)).rejects.toThrow('before the erasure was sealed')
    await checkErasure(world.api.core, run, 3)
  })

  test('a request that nobody else approved', async () => {
    const { run } = await scoped(newOrganization())
    const requests = {
      ...run.deps.requests,
      open: () => Promise.resolve({ ...run.opened, approver: run.opened.submitter }),
    }
    const fencing = createErasing({ ...run.deps, requests }).fence(run, nothing)
    await expect(fencing).rejects.toThrow(NotApprovedError)
    // Nobody approves while it is tried again.
    expect(failureOf(new NotApprovedError())).toEqual({ reason: 'internal', passing: false })
  })

  test('something left, which the second reader finds by the name of its place', async () => {
    const { run } = await scoped(newOrganization())
    expect(await run.toVerified()).toBe('clean')
    const strange = world.api.core.db.collection('somebodyForgotThis')
    await strange.insertOne({ organizationId: run.organizationId, note: `mail to ${person.id}` })
    expect(await run.erasing.verify(run, nothing)).toEqual({
      result: 'residue',
      targets: ['somebodyForgotThis'],
    })
    await strange.drop()
  })
})
