/**
 * Reading personal values: the keys of the subjects that a page of events names, read fresh for each request,
 * so that nothing is shown after its subject was fenced.
 */
import type { OrganizationKeyset } from '../keys/organization-keys.js'
import type { PeriodKeys } from '../keys/period-keys.js'
import { Lease, type Clock } from './leases.js'
import { subjectDocumentId, type SubjectState, type SubjectStore } from './store.js'
import { openSubjectKey } from './subject-keys.js'

export interface ReadableSubject {
  readonly state: SubjectState
  /** Present where the subject is active and keys were asked for. */
  readonly key?: Buffer
}

export interface SubjectReader {
  /**
   * States, and keys if `withKeys`, of subjects by reference. `lease` says until when they may be shown.
   * @throws KeyError where a key is missing or wrong: that is an error, and never "erased"
   */
  read(
    keyset: OrganizationKeyset,
    references: readonly string[],
    withKeys: boolean,
  ): Promise<{ subjects: ReadonlyMap<string, ReadableSubject>; lease: Lease }>
}

export function createSubjectReader(store: SubjectStore, periods: PeriodKeys, clock: Clock): SubjectReader {
  return {
    async read(keyset, references, withKeys) {
      const lease = new Lease(clock)
      const subjects = new Map<string, ReadableSubject>()
      if (references.length === 0) return { subjects, lease }
      const ids = references.map((reference) => subjectDocumentId(keyset.organizationId, reference))
      for await (const document of store.subjects.find({ _id: { $in: ids } })) {
        const reference = document._id.slice(keyset.organizationId.length + 1)
        const { state } = document
        const opens = withKeys && state === 'active'
        if (opens && document.key !== undefined) await periods.ensure([document.key.period])
        subjects.set(
          reference,
          opens ? { state, key: openSubjectKey(keyset, periods, reference, document) } : { state },
        )
      }
      return { subjects, lease }
    },
  }
}
