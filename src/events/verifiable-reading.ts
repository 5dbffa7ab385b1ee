/** Gives stored events in their verifiable form; whoever gets to see a person is noted first, as in every other read. */
import { KeyError } from '../keys/wrapping.js'
import type { OrganizationKeyset } from '../keys/organization-keys.js'
import type { ReadableSubject, SubjectReader } from '../subjects/readers.js'
import type { SystemEventWriter } from './contract.js'
import type { IntakeOrganization } from './intake.js'
import { notePersonalRead, type Reader, type ReadNote } from './personal-reads.js'
import { eventIdOf, type StoredEvent } from './store.js'
import { verifiableEvent, type VerifiableEvent } from './verifiable.js'

export interface VerifiablePresenter {
  /**
   * The verifiable forms by event id.
   * @throws AnnalsError `unavailable` where the read took too long to still be current
   */
  present(
    organization: IntakeOrganization,
    stored: readonly StoredEvent[],
    reader: Reader,
    note: ReadNote,
  ): Promise<ReadonlyMap<string, VerifiableEvent>>
}

export function createVerifiablePresenter(
  subjects: SubjectReader,
  systemEvents: Pick<SystemEventWriter, 'write'>,
): VerifiablePresenter {
  return {
    async present({ keyset }, stored, reader, note) {
      const references = [...new Set(stored.flatMap(referencesIn))]
      const { readable, leases } = await readAll(subjects, keyset, references, reader.personal)
      const shown = references.filter((reference) => readable.get(reference)?.key !== undefined)
      const forms = stored.map((event) => [eventIdOf(event._id), verifiableEvent(event, readable)] as const)
      if (shown.length > 0) {
        const { organizationId } = keyset
        const read = { organizationId, reader, note, events: stored.length, shown, leases }
        await notePersonalRead(systemEvents, read)
      }
      return new Map(forms)
    },
  }
}

/** References in a row that may hold anything. */
function referencesIn({ fields }: StoredEvent): string[] {
  if (!Array.isArray(fields)) return []
  return (fields as readonly unknown[]).flatMap((field) =>
    typeof field === 'object' && field !== null && 'subject' in field && typeof field.subject === 'string'
      ? [field.subject]
      : [],
  )
}

/**
 * A key that is missing or wrong fails every other read. Here it must not: what a verifier has to hear is which fields
 * cannot be opened any more, and all the others beside them.
 */
async function readAll(
  subjects: SubjectReader,
  keyset: OrganizationKeyset,
  references: readonly string[],
  withKeys: boolean,
): Promise<{
  readable: ReadonlyMap<string, ReadableSubject>
  leases: readonly { readonly valid: boolean }[]
}> {
  try {
    const { subjects: readable, lease } = await subjects.read(keyset, references, withKeys)
    return { readable, leases: [lease] }
  } catch (error) {
    if (!(error instanceof KeyError)) throw error
  }
  const readable = new Map<string, ReadableSubject>()
  const leases: { readonly valid: boolean }[] = []
  for (const reference of references) {
    try {
      const one = await subjects.read(keyset, [reference], withKeys)
      leases.push(one.lease)
      for (const [known, subject] of one.subjects) readable.set(known, subject)
    } catch (error) {
      if (!(error instanceof KeyError)) throw error
    }
  }
  return { readable, leases }
}
