/** Manifests by their hash, for whoever verifies: they hold references, event ids and commitments, and no identifier. */
import type { ErasureLedger } from './ledger.js'
import { manifestPath, releasedManifestPath } from './manifests.js'
import type { ErasureProgress } from './progress.js'
import { redactionManifestPath } from '../redaction/manifest.js'
import type { RedactionStore } from '../redaction/store.js'

/** @returns undefined where no erasure or redaction of the organization has such a manifest */
export async function readManifest(
  deps: {
    readonly progress: Pick<ErasureProgress, 'manifestNamed'>
    readonly ledger: Pick<ErasureLedger, 'manifest'>
    readonly redactions: Pick<RedactionStore, 'manifestNamed'>
  },
  organizationId: string,
  sha256: string,
): Promise<Uint8Array | undefined> {
  const named = await deps.progress.manifestNamed(organizationId, sha256)
  if (named?.kind === 'released') return deps.ledger.manifest(releasedManifestPath(named.request, sha256))
  if (named !== undefined) return deps.ledger.manifest(manifestPath(named.request, named.kind))
  const redaction = await deps.redactions.manifestNamed(organizationId, sha256)
  return redaction === null ? undefined : deps.ledger.manifest(redactionManifestPath(redaction))
}
