/**
 * Intake: what happens to an event between the parsed request and the 201.
 *
 *     organization ─ id ─ screen ─ subjects ─ protect ─ group commit ─ lease check ─ answer
 *
 * An answer "accepted" means: a majority has journaled the event, and the subjects it is stored under were
 * active until then (subjects/leases.ts). Whatever fails before the commit leaves nothing behind.
 */
import { AnnalsError } from '../errors.js'
import { idFromDigest, newId } from '../ids.js'
import type { OrganizationKeyset } from '../keys/organization-keys.js'
import type { SubjectDirectory } from '../subjects/directory.js'
import type { ActionRules, EventInput, RecordedEvent, SealedEvents } from './contract.js'
import type { OrganizationDetection } from './detection.js'
import type { GroupCommitter } from './group-commit.js'
import { fingerprintOf, protectEvent, type EventSubjects } from './protect.js'
import { screen, type Screened } from './screening.js'
import { createReplays, type ExistingEvent } from './replays.js'
import { eventDocumentId, eventIdOf, type EventCollection, type StoredEvent } from './store.js'

/** An organization as intake needs it: what makes a person there, what is detected, and its keys. */
export interface IntakeOrganization {
  readonly personTypes: readonly string[]
  readonly detection: OrganizationDetection
  readonly keyset: OrganizationKeyset
}

export interface Submission {
  readonly event: EventInput
  /** A TypeID of the client's own. */
  readonly clientId?: string | undefined
  readonly idempotencyKey?: string | undefined
  /** Who sends it, by access key: lanes share the queue fairly. Absent = Annals itself. */
  readonly lane?: string
  /** The first event under the id stands, whatever this one says: for Annals' own. */
  readonly firstStands?: boolean
}

export interface Intake {
  /**
   * Accepts one event.
   * @throws AnnalsError `invalid` (schema of the action, personal data) | `idempotency_conflict` | `overloaded` |
   *   `unavailable`
   */
  submit(submission: Submission, organization: IntakeOrganization): Promise<RecordedEvent>
  /** Is there room for this many events of a lane? False = answer 503 before doing any work. */
  hasRoom(lane: string, count: number, bytes: number): boolean
}

export interface IntakeDependencies {
  readonly events: EventCollection
  readonly committer: GroupCommitter
  readonly directory: SubjectDirectory
  /** Ids that the log knows, also when their events have left the hot store. */
  readonly sealed: SealedEvents
  /** What action schemas ask of events; absent = nothing. */
  readonly rules?: ActionRules
}

const maxRounds = 5

export function createIntake({ events, committer, directory, sealed, rules }: IntakeDependencies): Intake {
  const replays = createReplays(events, directory)

  async function submit(submission: Submission, organization: IntakeOrganization): Promise<RecordedEvent> {
    const { event: sent } = submission
    const { keyset } = organization
    const idempotent = submission.clientId !== undefined || submission.idempotencyKey !== undefined
    const id = submission.clientId ?? idOf(keyset, submission.idempotencyKey)
    const receivedAt = new Date()
    const rule = sent.category === 'system' ? undefined : rules?.of(sent.action, sent.version)
    let screened: Screened
    try {
      screened = screen(sent, organization, rule instanceof Promise ? await rule : rule)
    } catch (refusal) {
      // A schema or policy that came later does not reach back: a repeat answers as the first time.
      const first = idempotent ? await replay(submission, keyset, id) : undefined
      if (first === undefined) throw refusal
      return first
    }
    const { event, search, personalKeys } = screened
    const bodies = event === sent ? [sent] : [event, sent]
    if (idempotent) {
      const known = await answerSealed(submission, bodies, keyset, id)
      if (known !== undefined) return known
    }
    const options = { id, receivedAt, fingerprint: idempotent, search, personalKeys }
    for (let round = 0; round < maxRounds; round += 1) {
      const persons = subjectsOf(screened, keyset)
      const subjects = persons instanceof Promise ? await persons : persons
      const stored = protectEvent(event, subjects, keyset, options)
      const outcome = await committer.commit(stored, submission.lane)
      const answer = recorded(stored, id, false)
      if (outcome === 'inserted') {
        if (await stillActive(keyset, subjects)) return answer
        if (!(await takeBack(stored))) return answer
        continue
      }
      const first = await replays.existing(stored._id)
      if (first === undefined) continue
      // The insert was retried after a lost answer: the event that stands there is this one.
      if (!idempotent || first.leafHash.equals(stored.leafHash)) {
        if (await stillActive(keyset, subjects)) return answer
        if (!(await takeBack(stored))) return answer
        continue
      }
      const repeat = await answerRepeat(first, submission, bodies, keyset, id)
      if (repeat !== undefined) return repeat
    }
    throw beingErased()
  }

  /**
   * Answers a repeat from the event that stands under its id; undefined = look again.
   * @param bodies the event as stored under today's policy, and as sent: it may have come under another policy
   * @throws AnnalsError `idempotency_conflict`
   */
  async function answerRepeat(
    first: ExistingEvent,
    submission: Submission,
    bodies: readonly EventInput[],
    keyset: OrganizationKeyset,
    id: string,
  ): Promise<RecordedEvent | undefined> {
    const compared = submission.firstStands === true ? undefined : first.fingerprint
    if (compared !== undefined && !bodies.some((body) => compared.equals(fingerprintOf(body, keyset))))
      throw conflict()
    if (first.pending === true && !(await replays.markAnswered(keyset, first))) return undefined
    return recorded(first, id, true)
  }

  /**
   * Answers a repeat of an event that was sealed: compared while it is hot, by id and leaf hash for ever after. It comes
   * before anything is stored, so that a repeat makes no subject of a person who was erased.
   * @throws AnnalsError `idempotency_conflict`
   */
  async function answerSealed(
    submission: Submission,
    bodies: readonly EventInput[],
    keyset: OrganizationKeyset,
    id: string,
  ): Promise<RecordedEvent | undefined> {
    const { organizationId } = keyset
    const known = await sealed.find(organizationId, id)
    if (known === undefined) return undefined
    const hot = await replays.find(eventDocumentId(organizationId, id))
    if (hot === undefined) return recorded({ organizationId, ...known }, id, true)
    return answerRepeat(hot, submission, bodies, keyset, id)
  }

  /** The answer of the event that was accepted under this id before; undefined where there is none. */
  async function replay(
    submission: Submission,
    keyset: OrganizationKeyset,
    id: string,
  ): Promise<RecordedEvent | undefined> {
    for (let round = 0; round < maxRounds; round += 1) {
      const first = await replays.find(eventDocumentId(keyset.organizationId, id))
      if (first === undefined) return answerSealed(submission, [submission.event], keyset, id)
      const answer = await answerRepeat(first, submission, [submission.event], keyset, id)
      if (answer !== undefined) return answer
    }
    throw beingErased()
  }

  /** The persons of an event; a promise only where one of them is not known within its lease. */
  function subjectsOf(
    { event, persons: { actor: actorIsPerson, targets: targetIsPerson } }: Screened,
    keyset: OrganizationKeyset,
  ): EventSubjects | Promise<EventSubjects> {
    const knownActor = actorIsPerson ? directory.known(keyset, event.actor) : undefined
    const knownTargets = event.targets.map((target, index) =>
      targetIsPerson[index] === true ? directory.known(keyset, target) : undefined,
    )
    const allKnown =
      (!actorIsPerson || knownActor !== undefined) &&
      knownTargets.every((handle, index) => targetIsPerson[index] !== true || handle !== undefined)
    if (allKnown) return { actor: knownActor, targets: knownTargets }
    return Promise.all([
      actorIsPerson ? directory.resolve(keyset, event.actor) : undefined,
      ...event.targets.map((target, index) =>
        targetIsPerson[index] === true ? directory.resolve(keyset, target) : undefined,
      ),
    ]).then(([actor, ...targets]) => ({ actor, targets }))
  }

  /** Were all subjects active up to now, that is, until after the commit? */
  async function stillActive(keyset: OrganizationKeyset, subjects: EventSubjects): Promise<boolean> {
    for (const subject of [subjects.actor, ...subjects.targets]) {
      if (subject === undefined || subject.lease.valid) continue
      if ((await directory.renew(keyset, subject.reference)) === undefined) return false
    }
    return true
  }

  /**
   * Removes our own event, which was committed after its lease had lapsed into a fence. Only while nobody else
   * can rely on it: still pending, with our leaf, answered to nobody. False = it belongs to the fenced subject,
   * whose erasure covers it, and is answered as it stands. The sealer may have removed it as abandoned.
   */
  async function takeBack(stored: StoredEvent): Promise<boolean> {
    const result = await events.deleteOne({
      _id: stored._id,
      leafHash: stored.leafHash,
      pending: true,
      answered: { $exists: false },
    })
    if (result.deletedCount === 1) return true
    const { _id, organizationId, leafHash } = stored
    const stands = await events.findOne({ _id, leafHash }, { projection: { _id: 1 } })
    return stands === null && (await sealed.find(organizationId, eventIdOf(_id))) === undefined
  }

  return { submit, hasRoom: (lane, count, bytes) => committer.hasRoom(lane, count, bytes) }
}

/** The event id that an idempotency key stands for, or a fresh one where there is none. */
function idOf(keyset: OrganizationKeyset, idempotencyKey: string | undefined): string {
  return idempotencyKey === undefined ? newId('evt') : idForKey(keyset, 'evt', `client\0${idempotencyKey}`)
}

/** UUIDv8 of HMAC(fingerprint key, organization ‖ key), as a TypeID. The same key is the same id for ever. */
export function idForKey(keyset: OrganizationKeyset, prefix: string, key: string): string {
  return idFromDigest(prefix, keyset.fingerprint(`id\0${keyset.organizationId}\0${prefix}\0${key}`))
}

function recorded(
  event: Omit<RecordedEvent, 'id' | 'replayed'>,
  id: string,
  replayed: boolean,
): RecordedEvent {
  return {
    id,
    organizationId: event.organizationId,
    receivedAt: event.receivedAt,
    leafHash: event.leafHash,
    replayed,
  }
}

const beingErased = () =>
  new AnnalsError('unavailable', 'A person of this event is being erased right now; try again.', {
    retryAfterSeconds: 2,
  })

const conflict = () =>
  new AnnalsError('idempotency_conflict', 'This idempotency key or id was used before, with another event.')
