/**
 * Free text that an erasure took out does not come back from the archive: a restore that read it a moment before the
 * content was written anew strips it here, by the text manifests. Each is there before anything of it is removed.
 */
import { LRUCache } from 'lru-cache'
import { z } from 'zod'
import type { ErasedContent } from '../archive/restores/erased-content.js'
import { eventIdOf } from '../events/store.js'
import { withoutFields } from '../redaction/fields.js'
import { LedgerError, type ErasureLedger } from './ledger.js'
import { manifestPath, type RemovedField } from './manifests.js'
import type { ErasureProgress } from './progress.js'

const manifestSchema = z.object({ removed: z.array(z.tuple([z.string(), z.string(), z.base64url()])) })

/** What was read from the archive so long before is not stored any more without being read again. */
const longestRestoreMs = 7 * 24 * 3_600_000
const maxManifests = 16

type Removed = ReadonlyMap<string, readonly RemovedField[]>

/** Strips what free text lost, too. @throws LedgerError; ArchiveStoreError where the ledger cannot be read */
export function withErasedTexts(
  erased: ErasedContent,
  deps: {
    readonly progress: Pick<ErasureProgress, 'withTextManifest'>
    readonly ledger: Pick<ErasureLedger, 'manifest'>
    readonly now?: () => Date
  },
): ErasedContent {
  const manifests = new LRUCache<string, Removed>({ max: maxManifests })

  async function removedBy(path: string, sha256: string): Promise<Removed> {
    const known = manifests.get(sha256)
    if (known !== undefined) return known
    const bytes = await deps.ledger.manifest(path)
    if (bytes === undefined) throw new LedgerError('a manifest that was written is not there')
    const { removed } = manifestSchema.parse(JSON.parse(bytes.toString('utf8')))
    const byEvent = new Map<string, RemovedField[]>()
    for (const [eventId, slot, commitment] of removed) {
      const fields = byEvent.get(eventId) ?? []
      byEvent.set(eventId, [...fields, { eventId, slot, commitment: Buffer.from(commitment, 'base64url') }])
    }
    manifests.set(sha256, byEvent)
    return byEvent
  }

  return {
    async strip(organizationId, events) {
      let stripped = await erased.strip(organizationId, events)
      const since = new Date((deps.now?.() ?? new Date()).getTime() - longestRestoreMs)
      for await (const request of deps.progress.withTextManifest(organizationId, since)) {
        const sha256 = request.manifests?.text
        if (sha256 === undefined) continue
        const removed = await removedBy(manifestPath(request, 'text'), sha256)
        if (removed.size === 0) continue
        stripped = stripped.map((event) => withoutFields(event, removed.get(eventIdOf(event._id)) ?? []))
      }
      return stripped
    },
  }
}
