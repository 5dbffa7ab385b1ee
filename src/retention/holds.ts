/**
 * Legal holds: placed and released by owners and privacy officers. A hold stops expiry and erasure of what it covers,
 * never the move to the archive.
 *
 * Placing and releasing are one transaction each with their event and a step of the lifecycle counter: what is being
 * deleted when a hold commits looks again (lifecycle.ts), and a person who is fenced at the same moment is seen.
 *
 * A person may be named by an identifier. It is looked up when the hold is placed, and the hold keeps the references
 * it led to, so that no hold keeps a name that an erasure would have to find. The event says how many there are.
 */
import type { ClientSession, MongoClient } from 'mongodb'
import { AnnalsError, notFound, type FieldErrorCode } from '../errors.js'
import type { SystemEventWriter } from '../events/contract.js'
import { notePersonalRead } from '../events/personal-reads.js'
import { newId } from '../ids.js'
import type { OrganizationKeyset } from '../keys/organization-keys.js'
import { inTransaction } from '../mongo/transaction.js'
import { isDuplicateKey } from '../mongo/unavailable.js'
import type { SubjectDirectory } from '../subjects/directory.js'
import { subjectDocumentId, type SubjectStore } from '../subjects/store.js'
import type { Hold, HoldScope } from './contract.js'
import type { HoldListQuery, HoldStore } from './hold-store.js'
import type { Lifecycle } from './lifecycle.js'

/** How a person is named when a hold is placed. */
export type HoldIdentifier =
  | { readonly kind: 'id'; readonly type: string; readonly value: string }
  | { readonly kind: 'email'; readonly value: string }

export interface WantedHold {
  readonly scope: {
    /** `sub_…`. Not together with `identifier`. */
    readonly subject?: string | undefined
    readonly identifier?: HoldIdentifier | undefined
    readonly action?: HoldScope['action'] | undefined
    readonly from?: Date | undefined
    readonly to?: Date | undefined
  }
  readonly reason: string
}

export interface HoldAuthor {
  /** `prn_…` */
  readonly principal: string
  readonly requestId: string
  readonly idempotencyKey?: string | undefined
}

export const holdLimits = {
  /** Characters of a reason. */
  maxReasonLength: 2_000,
  /** Holds in force at once in one organization: expiry compares every event with each of them. */
  maxActive: 500,
  /** Persons that one e-mail may lead to. */
  maxSubjects: 1_000,
} as const

export interface HoldService {
  /**
   * Places a hold.
   * @returns the hold, and whether an earlier request under the same key had placed it
   * @throws AnnalsError `invalid` (`unknown_person`, `too_many`) | `subject_erased` | `idempotency_conflict`
   */
  place(
    organizationId: string,
    wanted: WantedHold,
    author: HoldAuthor,
  ): Promise<{ hold: Hold; replayed: boolean }>
  /** Releases a hold; a released one stays as it is. @throws AnnalsError `not_found` */
  release(organizationId: string, id: string, author: HoldAuthor): Promise<Hold>
  /** @throws AnnalsError `not_found` */
  get(organizationId: string, id: string): Promise<Hold>
  list(query: HoldListQuery): Promise<Hold[]>
  /** Those in force. What decides on them read the lifecycle counter before. */
  active(organizationId: string): Promise<Hold[]>
}

export interface HoldServiceDependencies {
  readonly client: MongoClient
  readonly store: HoldStore
  readonly lifecycle: Lifecycle
  readonly subjects: SubjectStore
  readonly directory: Pick<SubjectDirectory, 'find'>
  readonly keysetOf: (organizationId: string) => Promise<OrganizationKeyset>
  /** The id that stands for an idempotency key. */
  readonly idForKey: (keyset: OrganizationKeyset, prefix: string, key: string) => string
  readonly systemEvents: SystemEventWriter
  readonly now?: () => Date
}

export function createHoldService(dependencies: HoldServiceDependencies): HoldService {
  const { client, store, lifecycle, systemEvents } = dependencies
  const now = dependencies.now ?? (() => new Date())

  /** The references that a hold is about; undefined = it is about no person in particular. */
  async function resolve(
    organizationId: string,
    { scope }: WantedHold,
    author: HoldAuthor,
  ): Promise<readonly string[] | undefined> {
    const { subject, identifier } = scope
    if (identifier === undefined) return subject === undefined ? undefined : [subject]
    const keyset = await dependencies.keysetOf(organizationId)
    const query =
      identifier.kind === 'email'
        ? { email: identifier.value }
        : { id: identifier.value, type: identifier.type }
    const found = [...(await dependencies.directory.find(keyset, query))].sort()
    // Looking a person up is noted whatever it finds, as every look-up by a personal value is.
    await notePersonalRead(systemEvents, {
      organizationId,
      reader: { principal: author.principal, personal: true, requestId: author.requestId },
      note: { by: 'hold', kind: identifier.kind },
      events: 0,
      shown: found,
      leases: [],
    })
    if (found.length === 0)
      throw refused('scope.identifier', 'unknown_person', 'no event names this person, or not any more')
    if (found.length > holdLimits.maxSubjects)
      throw refused(
        'scope.identifier',
        'too_many',
        `leads to more than ${String(holdLimits.maxSubjects)} persons`,
      )
    return found
  }

  /** All of them must still be there. @throws AnnalsError `invalid` | `subject_erased` */
  async function checkSubjects(
    organizationId: string,
    references: readonly string[],
    session: ClientSession,
  ): Promise<void> {
    const ids = references.map((reference) => subjectDocumentId(organizationId, reference))
    const found = await dependencies.subjects.subjects
      .find({ _id: { $in: ids } }, { session, projection: { state: 1 } })
      .toArray()
    if (found.some(({ state }) => state !== 'active')) throw erased()
    if (found.length < ids.length)
      throw refused('scope.subject', 'unknown_person', 'there is no person of this reference')
  }

  async function insert(hold: Hold, author: HoldAuthor): Promise<void> {
    await inTransaction(client, async (session) => {
      const { organizationId, scope } = hold
      // First of all: what it conflicts with is then known before anything is read.
      await lifecycle.advance(organizationId, session)
      if (scope.subjects !== undefined) await checkSubjects(organizationId, scope.subjects, session)
      if ((await store.countActive(organizationId, session)) >= holdLimits.maxActive)
        throw refused('', 'too_many', `at most ${String(holdLimits.maxActive)} holds are in force at once`)
      await store.insert(hold, session)
      await systemEvents.writeInTransaction(holdEvent('placed', hold, author, hold.placedAt), session)
    })
  }

  return {
    async place(organizationId, wanted, author) {
      const { idempotencyKey } = author
      const keyset = await dependencies.keysetOf(organizationId)
      const id =
        idempotencyKey === undefined ? newId('hold') : dependencies.idForKey(keyset, 'hold', idempotencyKey)
      const references = await resolve(organizationId, wanted, author)
      if (idempotencyKey !== undefined) {
        const first = await store.find(organizationId, id)
        if (first !== undefined) return { hold: replayOf(first, wanted, references), replayed: true }
      }
      const { action, from, to } = wanted.scope
      const hold: Hold = {
        id,
        organizationId,
        scope: {
          ...(references === undefined ? {} : { subjects: references }),
          ...(action === undefined ? {} : { action }),
          ...(from === undefined ? {} : { from }),
          ...(to === undefined ? {} : { to }),
        },
        reason: wanted.reason,
        author: author.principal,
        placedAt: now(),
        releasedAt: null,
        releasedBy: null,
      }
      try {
        await insert(hold, author)
        return { hold, replayed: false }
      } catch (error) {
        // The same key twice at once, or a commit whose answer was lost.
        if (idempotencyKey === undefined || !isDuplicateKey(error)) throw error
        const first = await store.find(organizationId, id)
        if (first === undefined) throw error
        return { hold: replayOf(first, wanted, references), replayed: true }
      }
    },

    async release(organizationId, id, author) {
      return inTransaction(client, async (session) => {
        const hold = await store.find(organizationId, id, session)
        if (hold === undefined) throw notFound()
        if (hold.releasedAt !== null) return hold
        const at = now()
        await lifecycle.advance(organizationId, session)
        if (!(await store.release(organizationId, id, { at, by: author.principal }, session)))
          throw new Error('a hold that is in force in this transaction was not released by it')
        await systemEvents.writeInTransaction(holdEvent('released', hold, author, at), session)
        return { ...hold, releasedAt: at, releasedBy: author.principal }
      })
    },

    async get(organizationId, id) {
      const hold = await store.find(organizationId, id)
      if (hold === undefined) throw notFound()
      return hold
    },
    list: (query) => store.list(query),
    active: (organizationId) => store.active(organizationId),
  }
}

/**
 * The answer to a repeat: the hold as it was placed. No hash of an identifier is kept to compare by; that both lead to
 * the same person says the same.
 * @throws AnnalsError `idempotency_conflict`
 */
function replayOf(
  first: Hold,
  { scope, reason }: WantedHold,
  references: readonly string[] | undefined,
): Hold {
  const samePersons =
    references === undefined
      ? first.scope.subjects === undefined
      : references.some((reference) => first.scope.subjects?.includes(reference) === true)
  const same =
    samePersons &&
    first.reason === reason &&
    first.scope.action === scope.action &&
    first.scope.from?.getTime() === scope.from?.getTime() &&
    first.scope.to?.getTime() === scope.to?.getTime()
  if (same) return { ...first, releasedAt: null, releasedBy: null }
  throw new AnnalsError('idempotency_conflict', 'The idempotency key has placed another hold.')
}

const holdEvent = (what: 'placed' | 'released', hold: Hold, author: HoldAuthor, occurredAt: Date) => ({
  organizationId: hold.organizationId,
  action: `annals.hold.${what}` as const,
  occurredAt,
  actor: { type: 'principal' as const, id: author.principal },
  targets: [{ type: 'hold', id: hold.id }],
  context: { requestId: author.requestId },
  metadata: {
    ...(hold.scope.subjects === undefined ? {} : { persons: hold.scope.subjects.length }),
    ...(hold.scope.action === undefined ? {} : { action: hold.scope.action }),
    ...(hold.scope.from === undefined ? {} : { from: hold.scope.from.toISOString() }),
    ...(hold.scope.to === undefined ? {} : { to: hold.scope.to.toISOString() }),
  },
})

const refused = (path: string, code: FieldErrorCode, message: string) =>
  new AnnalsError('invalid', 'The hold was not placed; see errors.', { errors: [{ path, code, message }] })

const erased = () =>
  new AnnalsError(
    'subject_erased',
    'The person is erased, or is being erased: there is nothing left to hold.',
  )
