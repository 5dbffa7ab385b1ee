/**
 * What an erasure keeps still: blocks under the key of the request, and text in clear, of events that are exempt or held.
 * The manifests say what it kept at its end, and the events themselves what is there by now.
 *
 * An event that is not found has lost its content to expiry: nothing of it is kept any more.
 */
import type { EventFinder } from '../events/finding.js'
import { fieldCommitment } from '../events/record.js'
import type { StoredEvent, StoredField } from '../events/store.js'
import type { ErasureLedger } from './ledger.js'
import { readSubjects, readTexts, slotsOf, type RemovedRow } from './named-manifests.js'
import type { ErasureProgressDocument } from './progress.js'

export interface KeptDependencies {
  readonly ledger: Pick<ErasureLedger, 'manifest'>
  readonly finder: EventFinder
}

interface KeptField extends RemovedRow {
  /** Under the key of the request. */
  readonly block: boolean
}

export interface KeptEvent {
  readonly eventId: string
  readonly event: StoredEvent
  /** Never empty. */
  readonly fields: readonly KeptField[]
}

const pageSize = 500
/** The manifests of an erasure. @throws ArchiveStoreError; LedgerError where one is not the one that was sealed */
export const manifestsOf = async (
  { ledger }: Pick<KeptDependencies, 'ledger'>,
  progress: ErasureProgressDocument,
) => ({
  subjects: await readSubjects(ledger, progress, progress.manifests?.subjects),
  text: await readTexts(ledger, progress, progress.manifests?.text),
})

/** @throws ArchiveStoreError; LedgerError; AnnalsError `unavailable` | `archive_damaged` */
export async function* keptBy(
  deps: KeptDependencies,
  progress: ErasureProgressDocument,
  beat: () => void,
): AsyncGenerator<KeptEvent> {
  const { organizationId, requestId } = progress
  const { subjects, text } = await manifestsOf(deps, progress)
  const slots = slotsOf([...subjects.restricted, ...text.exempt])
  const eventIds = [...slots.keys()]
  for (let at = 0; at < eventIds.length; at += pageSize) {
    beat()
    for (const [eventId, event] of await deps.finder.find(
      organizationId,
      eventIds.slice(at, at + pageSize),
    )) {
      const fields = event.fields.flatMap((field) => {
        if (!('slot' in field) || slots.get(eventId)?.has(field.slot) !== true) return []
        const kept = keptField(eventId, field, requestId)
        return kept === undefined ? [] : [kept]
      })
      if (fields.length > 0) yield { eventId, event, fields }
    }
  }
}

function keptField(eventId: string, field: StoredField, requestId: string): KeptField | undefined {
  if ('value' in field) {
    const { slot, salt, value } = field
    return { eventId, slot, commitment: fieldCommitment(eventId, slot, salt, value), block: false }
  }
  if (!('subject' in field) || field.sealed === undefined) return undefined
  const { slot, commitment, restricted } = field
  // Another's block that names the person, unless another request keeps it.
  if (restricted !== undefined && restricted !== requestId) return undefined
  return { eventId, slot, commitment, block: restricted === requestId }
}
