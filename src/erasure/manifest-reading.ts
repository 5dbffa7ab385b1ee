/** Manifests by their hash, for whoever verifies: they hold references, event ids and commitments, and no identifier. */
import type { ErasureLedger } from './ledger.js'
import { manifestPath } from './manifests.js'
import type { ErasureProgress } from './progress.js'

/** @returns undefined where no erasure of the organization has such a manifest */
export async function readManifest(
  deps: {
    readonly progress: Pick<ErasureProgress, 'manifestNamed'>
    readonly ledger: Pick<ErasureLedger, 'manifest'>
  },
  organizationId: string,
  sha256: string,
): Promise<Uint8Array | undefined> {
  const named = await deps.progress.manifestNamed(organizationId, sha256)
  return named === undefined ? undefined : deps.ledger.manifest(manifestPath(named.request, named.kind))
}
