/**
 * The proof of a sealed event that names a manifest, beside the manifest in the ledger:
 *
 *     <org>/erasures/<requestId>.subjects.proof     of `annals.subject.erasure_started`
 *     <org>/erasures/<requestId>.text.proof         of `annals.subject.erased`
 *     <org>/erasures/<redactionId>.fields.proof     of `annals.field.redacted`
 *         {"v":1,"kind":"annals/erasure-proof","event":receipt}
 *
 * So an archive and the ledger beside it say by themselves why a value is not there, though the event that says so stands
 * in the hot store for months. It is nobody's word: who reads it checks it (verification/erasure-proof-check.ts).
 */
import { hash } from 'node:crypto'
import { eventReceipt, type EventReceiptDependencies } from '../archive/event-receipt.js'
import { ArchiveStoreError, type ArchiveStore } from '../archive/stores/contract.js'
import { sourceOf } from './manifests.js'

export interface SealedProofs {
  /**
   * Puts the proof of an event that is sealed beside the manifest that it names; one that is there stays.
   * @param manifest path of the manifest @throws ArchiveStoreError; AnnalsError `log_damaged`; Error where it is not sealed
   */
  put(organizationId: string, manifest: string, eventId: string): Promise<void>
}

export interface SealedProofsDependencies extends EventReceiptDependencies {
  readonly store: Pick<ArchiveStore, 'head' | 'put'>
}

export const sealedProofPath = (manifest: string): string => manifest.replace(/\.json$/, '.proof')

export function createSealedProofs({ store, ...reading }: SealedProofsDependencies): SealedProofs {
  return {
    async put(organizationId, manifest, eventId) {
      const path = sealedProofPath(manifest)
      if ((await store.head(path)) !== undefined) return
      const event = await eventReceipt(reading, organizationId, eventId)
      if (event === undefined) throw new Error('an event is to be proved that is not sealed, or not there')
      const bytes = Buffer.from(JSON.stringify({ v: 1, kind: 'annals/erasure-proof', event }), 'utf8')
      try {
        const sha256 = hash('sha256', bytes, 'buffer')
        await store.put(path, sourceOf(bytes), { sha256, bytes: bytes.length })
      } catch (error) {
        // Another attempt was quicker, and its checkpoint another one: it proves the same.
        if (!(error instanceof ArchiveStoreError && error.code === 'exists')) throw error
      }
    },
  }
}
