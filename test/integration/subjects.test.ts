import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { EventInput, Party, RecordedEvent } from '../../src/events/contract.js'
import { GroupCommitter } from '../../src/events/group-commit.js'
import { createIntake, type Intake, type IntakeOrganization } from '../../src/events/intake.js'
import { eventDocumentId } from '../../src/events/store.js'
import { KeyError } from '../../src/keys/wrapping.js'
import { createSubjectDirectory, type SubjectDirectory } from '../../src/subjects/directory.js'
import { leaseMs, type Clock } from '../../src/subjects/leases.js'
import { subjectDocumentId, subjectStore, type SubjectStore } from '../../src/subjects/store.js'
import { openWorld, type World } from '../support/world.js'

const organizationId = 'org_subjects'
let world: World
let organization: IntakeOrganization
let store: SubjectStore

beforeAll(async () => {
  world = await openWorld()
  await world.request('PUT', `/v1/organizations/${organizationId}`)
  organization = await world.api.core.eventOrganizations.require(organizationId)
  store = subjectStore(world.api.core.db)
})
afterAll(() => world.close())

/** A clock that a test moves: as if the process had been stopped meanwhile. */
function movableClock(): Clock & { pass(ms: number): void } {
  let passedMs = 0
  return {
    wallMs: () => Date.now() + passedMs,
    monotonicMs: () => performance.now() + passedMs,
    pass: (ms) => (passedMs += ms),
  }
}

/** A process of its own: another directory cache, another queue, on the same database. */
function openProcess(clock: Clock = movableClock()): {
  directory: SubjectDirectory
  intake: Intake
  committer: GroupCommitter
} {
  const { events, keyring, sealedEvents } = world.api.core
  const directory = createSubjectDirectory(store, keyring.periods, clock)
  const committer = new GroupCommitter(events)
  return {
    directory,
    committer,
    intake: createIntake({ events, committer, directory, sealed: sealedEvents }),
  }
}

let nextPerson = 0
const newPerson = (): Party => ({ type: 'user', id: `person-${String((nextPerson += 1))}`, name: 'Someone' })

const eventOf = (actor: Party): EventInput => ({
  organizationId,
  action: 'document.opened',
  occurredAt: new Date(),
  actor,
  targets: [],
  context: {},
  outcome: 'success',
  category: 'product',
  metadata: {},
  version: 1,
})

/** What an erasure's fence does to the directory: entries go and the subject is fenced, in one transaction. */
async function fence(reference: string): Promise<void> {
  await world.api.core.client.withSession((session) =>
    session.withTransaction(async () => {
      await store.directory.deleteMany({ organizationId, subject: reference }, { session })
      const id = subjectDocumentId(organizationId, reference)
      await store.subjects.updateOne({ _id: id }, { $set: { state: 'fenced' } }, { session })
    }),
  )
}

const subjectOf = async ({ id }: RecordedEvent): Promise<string> => {
  const stored = await world.api.core.events.findOne({ _id: eventDocumentId(organizationId, id) })
  const field = stored?.fields.find((one) => 'subject' in one)
  if (field === undefined || !('subject' in field)) throw new Error('the event has no person')
  return field.subject
}

describe('the directory', () => {
  test('one person is one subject, however many processes meet it at once', async () => {
    const person = newPerson()
    const processes = Array.from({ length: 4 }, () => openProcess().directory)
    const handles = await Promise.all(
      processes.flatMap((directory) => [
        directory.resolve(organization.keyset, person),
        directory.resolve(organization.keyset, person),
      ]),
    )
    expect(new Set(handles.map(({ reference }) => reference)).size).toBe(1)
    expect(new Set(handles.map(({ key }) => key.toString('hex'))).size).toBe(1)
    // The losers' subjects are gone: every subject is one that the directory leads to.
    const known = await store.directory.distinct('subject', { organizationId })
    expect(await store.subjects.countDocuments({ organizationId })).toBe(known.length)
  })

  test('types are compared without case, ids exactly', async () => {
    const { directory } = openProcess()
    const resolve = async (party: Party) => (await directory.resolve(organization.keyset, party)).reference
    const person = newPerson()
    const reference = await resolve(person)
    expect(await resolve({ ...person, type: 'USER' })).toBe(reference)
    expect(await resolve({ ...person, type: 'admin' })).not.toBe(reference)
    expect(await resolve({ ...person, id: `${person.id ?? ''} ` })).not.toBe(reference)
  })

  test('an e-mail finds every subject it was seen with, and resolves only who has no id', async () => {
    const { directory } = openProcess()
    const { keyset } = organization
    const email = 'Shared@Example.test'
    const first = await directory.resolve(keyset, { ...newPerson(), email })
    const second = await directory.resolve(keyset, { ...newPerson(), email: ' shared@example.test' })
    const byEmail = await directory.resolve(keyset, { type: 'user', email })
    const byId = await directory.resolve(keyset, { type: 'user', id: 'shared@example.test' })
    const references = [first, second, byEmail, byId].map(({ reference }) => reference)
    expect(new Set(references).size).toBe(4)
    expect(new Set(await directory.find(keyset, { email: 'SHARED@example.test' }))).toEqual(
      new Set(references),
    )
    expect((await directory.resolve(keyset, { type: 'member', email })).reference).toBe(byEmail.reference)
  })

  test('a person seen with a second e-mail is found by both', async () => {
    const { directory } = openProcess()
    const { keyset } = organization
    const person = newPerson()
    const { reference } = await directory.resolve(keyset, { ...person, email: 'one@example.test' })
    await directory.resolve(keyset, { ...person, email: 'two@example.test' })
    expect(await directory.find(keyset, { email: 'one@example.test' })).toContain(reference)
    expect(await directory.find(keyset, { email: 'two@example.test' })).toContain(reference)
    expect(await directory.find(keyset, { id: person.id ?? '' })).toEqual([reference])
  })

  test('no document of either collection holds an identifier', async () => {
    const { directory } = openProcess()
    const person = {
      type: 'user',
      id: 'canary-identifier-771',
      email: 'canary@example.test',
      name: 'Canary Name',
    }
    await directory.resolve(organization.keyset, person)
    const documents = [
      ...(await store.subjects.find().toArray()),
      ...(await store.directory.find().toArray()),
    ]
    const text = documents.map((document) => JSON.stringify(document)).join('\n')
    expect(text).not.toMatch(/canary/i)
  })

  test('a subject whose key is missing is an error, never someone erased', async () => {
    const { directory } = openProcess()
    const person = newPerson()
    const { reference } = await directory.resolve(organization.keyset, person)
    await store.subjects.updateOne(
      { _id: subjectDocumentId(organizationId, reference) },
      { $unset: { key: 1 } },
    )
    await expect(openProcess().directory.resolve(organization.keyset, person)).rejects.toBeInstanceOf(
      KeyError,
    )
  })
})

describe('leases', () => {
  test('a lapsed lease is renewed before the key is used again', async () => {
    const clock = movableClock()
    const { directory } = openProcess(clock)
    const person = newPerson()
    const handle = await directory.resolve(organization.keyset, person)
    expect(directory.known(organization.keyset, person)).toBe(handle)
    clock.pass(leaseMs - 1_000)
    expect(handle.lease.valid).toBe(true)
    expect(directory.known(organization.keyset, person)).toBeUndefined()
    clock.pass(2_000)
    expect(handle.lease.valid).toBe(false)
  })

  test('after a fence the person is a new subject, also for a process that knew the old one', async () => {
    const clock = movableClock()
    const { intake } = openProcess(clock)
    const person = newPerson()
    const before = await subjectOf(await intake.submit({ event: eventOf(person) }, organization))
    await fence(before)
    clock.pass(leaseMs)
    const after = await subjectOf(await intake.submit({ event: eventOf(person) }, organization))
    expect(after).not.toBe(before)
  })

  test('a process that slept through the fence takes its event back and stores it under the new subject', async () => {
    const clock = movableClock()
    const { intake, committer, directory } = openProcess(clock)
    const person = newPerson()
    const old = (await directory.resolve(organization.keyset, person)).reference
    // The process stops after it encrypted and before it commits, and wakes when the fence is long done.
    const commit = committer.commit.bind(committer)
    let slept = false
    committer.commit = async (event) => {
      if (!slept) {
        slept = true
        await fence(old)
        clock.pass(leaseMs + 1)
      }
      return commit(event)
    }
    const recorded = await intake.submit({ event: eventOf(person), idempotencyKey: 'slept' }, organization)
    expect(await subjectOf(recorded)).not.toBe(old)
    expect(await world.api.core.events.countDocuments({ 'fields.subject': old })).toBe(0)
  })

  test('an event that a repeat was answered from is not taken back', async () => {
    const clock = movableClock()
    const sleeper = openProcess(clock)
    const person = newPerson()
    const old = (await sleeper.directory.resolve(organization.keyset, person)).reference
    const submission = { event: eventOf(person), idempotencyKey: 'answered' }
    const commit = sleeper.committer.commit.bind(sleeper.committer)
    let repeated: RecordedEvent | undefined
    sleeper.committer.commit = async (event) => {
      const outcome = await commit(event)
      // Between the commit and its answer: another process answers a repeat, then the fence, then we wake.
      repeated = await openProcess().intake.submit(submission, organization)
      await fence(old)
      clock.pass(leaseMs + 1)
      return outcome
    }
    const recorded = await sleeper.intake.submit(submission, organization)
    expect(repeated).toMatchObject({ replayed: true, id: recorded.id })
    expect(recorded.leafHash).toEqual(repeated?.leafHash)
    expect(await subjectOf(recorded)).toBe(old)
  })

  test('a repeat is not answered from a pending event whose subject is fenced', async () => {
    const person = newPerson()
    const submission = { event: eventOf(person), idempotencyKey: 'fenced' }
    const first = await openProcess().intake.submit(submission, organization)
    await fence(await subjectOf(first))
    await expect(openProcess().intake.submit(submission, organization)).rejects.toMatchObject({
      code: 'unavailable',
    })
  })
})
