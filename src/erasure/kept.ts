/**
 * What an erasure keeps still: blocks under the key of the request, and text in clear, of events that are exempt or held.
 * The manifests say what it kept at its end, and the events themselves what is there by now.
 *
 * An event that is not found has lost its content to expiry: nothing of it is kept any more.
 */
import { z } from 'zod'
import type { EventFinder } from '../events/finding.js'
import { fieldCommitment } from '../events/record.js'
import type { StoredEvent, StoredField } from '../events/store.js'
import { LedgerError, type ErasureLedger } from './ledger.js'
import { manifestPath, type ManifestKind, type RemovedField } from './manifests.js'
import type { ErasureProgressDocument } from './progress.js'

export interface KeptDependencies {
  readonly ledger: Pick<ErasureLedger, 'manifest'>
  readonly finder: EventFinder
}

export interface KeptEvent {
  readonly eventId: string
  readonly event: StoredEvent
  /** Never empty. */
  readonly fields: readonly (Omit<RemovedField, 'commitment'> & {
    readonly commitment: Buffer
    /** Under the key of the request. */
    readonly block: boolean
  })[]
}

const pageSize = 500
const names = z.array(z.tuple([z.string(), z.string()]))
const subjectManifestSchema = z.object({ restricted: names })
const textManifestSchema = z.object({ kept: names, exempt: names.default([]), removed: z.array(z.unknown()) })

/** The manifests of an erasure. @throws ArchiveStoreError; LedgerError where one is not there, or is none */
export async function manifestsOf(
  { ledger }: Pick<KeptDependencies, 'ledger'>,
  progress: ErasureProgressDocument,
) {
  async function read<Body>(kind: ManifestKind, schema: z.ZodType<Body>): Promise<Body> {
    const bytes = await ledger.manifest(manifestPath(progress, kind))
    const parsed = schema.safeParse(bytes === undefined ? undefined : JSON.parse(bytes.toString('utf8')))
    if (!parsed.success) throw new LedgerError('a manifest of an erasure is not there, or is none')
    return parsed.data
  }
  return {
    subjects: await read('subjects', subjectManifestSchema),
    text: await read('text', textManifestSchema),
  }
}

/** @throws ArchiveStoreError; LedgerError; AnnalsError `unavailable` | `archive_damaged` */
export async function* keptBy(
  deps: KeptDependencies,
  progress: ErasureProgressDocument,
  beat: () => void,
): AsyncGenerator<KeptEvent> {
  const { organizationId, requestId } = progress
  const { subjects, text } = await manifestsOf(deps, progress)
  const slots = new Map<string, Set<string>>()
  for (const [eventId, slot] of [...subjects.restricted, ...text.exempt])
    slots.set(eventId, (slots.get(eventId) ?? new Set<string>()).add(slot))
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

function keptField(
  eventId: string,
  field: StoredField,
  requestId: string,
): KeptEvent['fields'][number] | undefined {
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
