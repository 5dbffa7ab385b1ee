/**
 * The proof in the ledger that an erasure, or a redaction, was sealed (erasure/sealed-proof.ts): the receipt of its event,
 * checked against the log's checkpoint. It is nobody's word until then.
 */
import type { SegmentRange } from '../archive/contract.js'
import { LogError } from '../transparency-log/errors.js'
import { isErasure } from './erasures.js'
import { provedEvent, type LogVerifiers } from './expiry-proof-check.js'
import { receiptOfJson } from './receipt-check.js'

/** As far as a log is in an archive. */
export interface ReadLog {
  readonly range: SegmentRange
  readonly logKeys: readonly string[]
}

/**
 * The event of a proof that holds, and that stands behind everything that was read: what it accounts for is all before it.
 * undefined where it proves nothing.
 */
export function provedErasure(
  bytes: Uint8Array,
  { range, logKeys }: ReadLog,
  logVerifiers: LogVerifiers | undefined,
): unknown {
  try {
    const proof: unknown = JSON.parse(Buffer.from(bytes).toString('utf8'))
    if (typeof proof !== 'object' || proof === null || !('event' in proof)) return undefined
    const proved = provedEvent(receiptOfJson(proof.event), range, { logKeys: [...logKeys] }, logVerifiers)
    if (proved === undefined || !isErasure(proved.event)) return undefined
    const isBehind = proved.generation > range.generation || proved.index >= range.to
    return isBehind ? proved.event : undefined
  } catch (error) {
    // No JSON, or no receipt.
    if (error instanceof SyntaxError || error instanceof LogError) return undefined
    throw error
  }
}
