/** What a certificate carries of the log, so that it can be checked offline: sealed events of Annals' own, and their proofs. */
import type { EventFinder } from '../events/finding.js'
import { verifiableEvent } from '../events/verifiable.js'
import type { LogReader } from '../transparency-log/log-reader.js'
import type { Receipts } from '../transparency-log/receipts.js'
import { anchorExtra } from '../transparency-log/anchor/anchored-record.js'
import { parseCheckpoint } from '../transparency-log/checkpoint.js'
import { parseNote } from '../transparency-log/note.js'
import { formatTlogProof } from '../transparency-log/tlog-proof.js'
import type { CertificateProof } from './contract.js'

export interface CertificateProver {
  /**
   * @param events ids of events of Annals' own, which are about nobody, by the names that the certificate gives them
   * @throws AnnalsError `log_damaged` | `unavailable` | `archive_damaged`; Error where one is not sealed
   */
  prove(
    organizationId: string,
    events: Readonly<Record<string, string>>,
  ): Promise<Record<string, CertificateProof>>
}

export function createCertificateProver(deps: {
  readonly receipts: Pick<Receipts, 'receipt'>
  readonly log: Pick<LogReader, 'keys'>
  readonly finder: EventFinder
}): CertificateProver {
  async function proofOf(organizationId: string, eventId: string): Promise<CertificateProof> {
    const receipt = await deps.receipts.receipt(organizationId, eventId)
    const stored = (await deps.finder.find(organizationId, [eventId])).get(eventId)
    if (receipt?.proof.record === undefined || stored === undefined)
      throw new Error('a certificate is to prove an event that is not sealed, or not there')
    const { proof, anchored } = receipt
    const extra = anchored === undefined ? {} : { extra: anchorExtra(anchored) }
    const { record = '', generation, checkpoint } = proof
    const { origin } = parseCheckpoint(parseNote(checkpoint).text)
    return {
      eventId,
      action: stored.action,
      log: { origin, keys: await deps.log.keys({ organizationId, generation }) },
      receipt: formatTlogProof({ ...proof, ...extra }),
      record,
      event: verifiableEvent(stored, new Map()),
    }
  }

  return {
    async prove(organizationId, events) {
      const proofs: Record<string, CertificateProof> = {}
      for (const [name, eventId] of Object.entries(events))
        proofs[name] = await proofOf(organizationId, eventId)
      return proofs
    },
  }
}
