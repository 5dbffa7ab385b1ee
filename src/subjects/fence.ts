/**
 * The fence: from here on nothing more is stored or read under a person's key, and then the key is destroyed.
 *
 *     fence          the directory's entries go and the subject is `fenced`, in one transaction: the next event about
 *                    the same person makes a new subject
 *     waitOutLeases  every process that read the key before the fence has stopped using it (leases.ts)
 *     destroyKeys    the wrapped key goes; a tombstone without identifiers stays
 *
 * Each may be repeated. Whatever is not as the request left it is an error: a subject that another request fenced, one
 * that is not there, a key that does not open (a wrong root key must never look like an erasure).
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { ClientSession } from 'mongodb'
import type { OrganizationKeyset } from '../keys/organization-keys.js'
import type { PeriodKeys } from '../keys/period-keys.js'
import { openSeal } from '../keys/wrapping.js'
import { leaseMs, type Clock } from './leases.js'
import type { Identifier } from './policy.js'
import { subjectDocumentId, type SubjectDocument, type SubjectStore } from './store.js'
import { openSubjectKey } from './subject-keys.js'

/** A subject is not there, or another request's: nothing is erased on a guess. */
export class SubjectStateError extends Error {
  override readonly name = 'SubjectStateError'
}

export interface FencedBy {
  readonly keyset: OrganizationKeyset
  /** `erasure_…` */
  readonly requestId: string
  /** `sub_…` */
  readonly references: readonly string[]
}

export interface OpenedSubject {
  readonly reference: string
  readonly key: Buffer
  /** Under which period's key its own is wrapped. */
  readonly period: number
}

export interface Fence {
  /**
   * Opens every key, so that a fence goes up only where all of them are there and right.
   * @throws KeyError; SubjectStateError
   */
  openAll(by: FencedBy): Promise<OpenedSubject[]>
  /** The identifiers that the directory knows opened subjects by. @throws KeyError */
  identifiersOf(by: FencedBy, opened: readonly OpenedSubject[]): Promise<Identifier[]>
  /**
   * Puts the fence up within a transaction.
   * @returns how many entries of the directory went
   * @throws SubjectStateError
   */
  raise(by: FencedBy, session: ClientSession): Promise<number>
  /** Waits until no lease of before this call is left, by the wall clock and by the monotonic one. */
  waitOutLeases(beat: () => void): Promise<void>
  /** @throws SubjectStateError */
  destroyKeys(by: FencedBy): Promise<void>
}

/** Beyond a lease: what a process may need between its last look at the clock and its write's arrival. */
const marginMs = 250
const beatEveryMs = 500

/** How long a primary that lost its election may still answer reads (MongoDB's `electionTimeoutMillis`, by default). */
export const staleReadMs = 10_000

/** @param recentElection could a primary be left that does not know yet that it lost its election? */
export function createFence(
  store: SubjectStore,
  periods: PeriodKeys,
  clock: Clock,
  recentElection: () => Promise<boolean>,
): Fence {
  const idsOf = ({ keyset, references }: FencedBy) =>
    references.map((reference) => subjectDocumentId(keyset.organizationId, reference))

  async function read(by: FencedBy, session?: ClientSession): Promise<Map<string, SubjectDocument>> {
    const found = await store.subjects
      .find({ _id: { $in: idsOf(by) } }, session === undefined ? {} : { session })
      .toArray()
    return new Map(
      found.map((document) => [document._id.slice(by.keyset.organizationId.length + 1), document]),
    )
  }

  /** @throws SubjectStateError where one is missing, or neither active nor this request's */
  function check(by: FencedBy, found: ReadonlyMap<string, SubjectDocument>): void {
    for (const reference of by.references) {
      const document = found.get(reference)
      if (document === undefined) throw new SubjectStateError('a subject of the request is not there')
      if (document.state !== 'active' && document.erasure !== by.requestId)
        throw new SubjectStateError('a subject of the request was fenced by another one')
    }
  }

  return {
    async openAll(by) {
      const found = await read(by)
      check(by, found)
      await periods.ensure([...found.values()].flatMap(({ key }) => key?.period ?? []))
      return [...found].flatMap(([reference, document]) =>
        document.state === 'erased'
          ? []
          : [
              {
                reference,
                key: openSubjectKey(by.keyset, periods, reference, document),
                period: document.key?.period ?? 0,
              },
            ],
      )
    },

    async identifiersOf({ keyset: { organizationId } }, opened) {
      const keys = new Map(opened.map(({ reference, key }) => [reference, key]))
      const identifiers: Identifier[] = []
      const entries = store.directory.find({ organizationId, subject: { $in: [...keys.keys()] } })
      for await (const { _id, subject, sealed } of entries) {
        const key = keys.get(subject)
        if (key === undefined) continue
        const text = openSeal(key, sealed, `annals/directory/v1/${_id}`).toString('utf8')
        // Sealed by the directory itself: what opens is what it wrote.
        identifiers.push(JSON.parse(text) as Identifier)
      }
      return identifiers
    },

    async raise(by, session) {
      check(by, await read(by, session))
      const { organizationId } = by.keyset
      await store.subjects.updateMany(
        { _id: { $in: idsOf(by) }, state: 'active' },
        { $set: { state: 'fenced', erasure: by.requestId } },
        { session },
      )
      const detached = await store.directory.deleteMany(
        { organizationId, subject: { $in: [...by.references] } },
        { session },
      )
      return detached.deletedCount
    },

    async waitOutLeases(beat) {
      const wall = clock.wallMs()
      const monotonic = clock.monotonicMs()
      const waitMs = leaseMs + marginMs + ((await recentElection()) ? staleReadMs : 0)
      while (clock.wallMs() - wall < waitMs || clock.monotonicMs() - monotonic < waitMs) {
        beat()
        await sleep(beatEveryMs)
      }
    },

    async destroyKeys(by) {
      const found = await read(by)
      for (const reference of by.references) {
        const document = found.get(reference)
        if (document?.erasure !== by.requestId || document.state === 'active')
          throw new SubjectStateError('a key is to be destroyed that this request did not fence')
        if (document.state === 'fenced' && document.key === undefined)
          throw new SubjectStateError('a fenced subject has no key')
      }
      await store.subjects.updateMany(
        { _id: { $in: idsOf(by) }, state: 'fenced', erasure: by.requestId },
        { $set: { state: 'erased' }, $unset: { key: '' } },
        { writeConcern: { w: 'majority', journal: true } },
      )
    },
  }
}
