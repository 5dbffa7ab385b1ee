/**
 * The receipt of one of Annals' own events, as it lies in an archive or beside one: what `GET …/events/:id/proof?view=verifiable`
 * answers, without the anchor log. It is nobody's word: who reads it checks it (verification/proved-event.ts).
 */
import type { JsonObject } from '../events/contract.js'
import type { EventFinder } from '../events/finding.js'
import { verifiableEvent } from '../events/verifiable.js'
import { base64 } from '../transparency-log/encoding.js'
import type { LogReader } from '../transparency-log/log-reader.js'

export interface EventReceiptDependencies {
  readonly log: Pick<LogReader, 'prove'>
  readonly finder: EventFinder
}

/** undefined while it is not sealed. @throws AnnalsError `log_damaged` */
export async function eventReceipt(
  { log, finder }: EventReceiptDependencies,
  organizationId: string,
  id: string,
): Promise<JsonObject | undefined> {
  const proof = await log.prove(organizationId, id)
  const event = (await finder.find(organizationId, [id])).get(id)
  if (proof?.record === undefined || event === undefined) return undefined
  return {
    organizationId,
    id,
    generation: proof.generation,
    index: proof.index,
    size: proof.size,
    leafHash: base64(proof.leafHash),
    record: proof.record,
    proof: proof.hashes.map(base64),
    checkpoint: proof.checkpoint,
    // They are Annals' own, and about nobody.
    event: verifiableEvent(event, new Map()),
  }
}
