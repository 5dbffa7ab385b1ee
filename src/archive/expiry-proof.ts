/**
 * The proof that content, or records, had to go, beside the segment that they went from
 * (`<segment>.expiry.<revision>.proof`, of records `<segment>.leaves.<revision>.proof`): receipts of
 * the sealed event that says so, and of the events of the policies that it rests on. So an archive says by itself why
 * something is not in it, though the events stand in the hot store for months.
 *
 *     {"v":1,"kind":"annals/expiry-proof","expired":receipt,"policies":[receipt, …]}
 *
 * A receipt is what `GET …/events/:id/proof?view=verifiable` answers, without the anchor log. It is nobody's word: who
 * reads it checks it (verification/expiry-proof-check.ts). It stays when everything else of the segment has gone.
 */
import { Readable } from 'node:stream'
import type { JsonObject } from '../events/contract.js'
import type { EventFinder } from '../events/finding.js'
import type { LogReader } from '../transparency-log/log-reader.js'
import type { Expiring, SegmentRange } from './contract.js'
import { eventReceipt } from './event-receipt.js'
import { sha256Of } from './segment-manifest.js'
import { expiryProofPath, leavesProofPath } from './segment-paths.js'
import { ArchiveStoreError, type ArchiveStore } from './stores/contract.js'

export interface ArchivedProofs {
  /**
   * Puts the proof of an expiry; one that is there stays.
   * @returns false while its event is not sealed @throws ArchiveStoreError; AnnalsError `log_damaged`
   */
  put(range: SegmentRange, expiring: Expiring): Promise<boolean>
  isThere(range: SegmentRange, expiring: Expiring): Promise<boolean>
}

export interface ArchivedProofsDependencies {
  readonly store: ArchiveStore
  readonly log: Pick<LogReader, 'prove'>
  readonly finder: EventFinder
}

const pathOf = (range: SegmentRange, { kind, revision }: Expiring): string =>
  kind === 'content' ? expiryProofPath(range, revision) : leavesProofPath(range, revision)

export function createArchivedProofs({ store, log, finder }: ArchivedProofsDependencies): ArchivedProofs {
  const receiptOf = (organizationId: string, id: string) => eventReceipt({ log, finder }, organizationId, id)

  const isThere = async (range: SegmentRange, expiring: Expiring): Promise<boolean> =>
    (await store.head(pathOf(range, expiring))) !== undefined

  return {
    isThere,
    async put(range, expiring) {
      if (await isThere(range, expiring)) return true
      const { organizationId } = range
      const expired = await receiptOf(organizationId, expiring.eventId)
      if (expired === undefined) return false
      const policies: JsonObject[] = []
      for (const id of expiring.policyEventIds) {
        const receipt = await receiptOf(organizationId, id)
        if (receipt === undefined) return false
        policies.push(receipt)
      }
      const proof = { v: 1, kind: 'annals/expiry-proof', expired, policies }
      const bytes = Buffer.from(JSON.stringify(proof), 'utf8')
      const options = { sha256: Buffer.from(sha256Of(bytes), 'hex'), bytes: bytes.length }
      try {
        await store.put(pathOf(range, expiring), () => Readable.from([bytes]), options)
      } catch (error) {
        // Another attempt was quicker, and its checkpoint another one: it proves the same.
        if (!(error instanceof ArchiveStoreError && error.code === 'exists')) throw error
      }
      return true
    },
  }
}
