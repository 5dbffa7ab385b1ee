/**
 * The proof in the ledger that an erasure, or a redaction, was sealed (erasure/sealed-proof.ts): the receipt of its event.
 */
import { LogError } from '../transparency-log/errors.js'
import { isErasure } from './erasures.js'
import { jsonOf, membersOf } from './event-values.js'
import { provedEvent, standsBehind, type LogGeneration, type LogVerifiers } from './proved-event.js'
import { receiptOfJson } from './receipt-check.js'

/** As far as a log was read. */
export interface ReadLog extends LogGeneration {
  readonly to: number
}

/**
 * The event of a proof that holds, and that stands behind everything that was read: what it accounts for is all before it.
 * undefined where it proves nothing.
 */
export function provedErasure(
  bytes: Uint8Array,
  log: ReadLog,
  logKeys: readonly string[],
  logVerifiers: LogVerifiers | undefined,
): unknown {
  const { event } = membersOf(jsonOf(Buffer.from(bytes).toString('utf8')))
  try {
    const proved = provedEvent(receiptOfJson(event), log, logKeys, logVerifiers)
    if (proved === undefined || !isErasure(proved.event)) return undefined
    return standsBehind(proved, log) ? proved.event : undefined
  } catch (error) {
    // No receipt.
    if (error instanceof LogError) return undefined
    throw error
  }
}
