/** Receipts: the proof of an event in its own log, and beside it the proof that the anchor log has a tree with it. */
import type { AnchorProof } from './anchor/anchor-proof.js'
import type { AnchorProver } from './anchor/prove.js'
import type { AnchoredRecord } from './anchor/anchored-record.js'
import type { Alarms } from './alarms.js'
import { LogError } from './errors.js'
import { equalHashes } from './hash.js'
import type { EventProof, LogName, LogReader, NamedLog } from './log-reader.js'

/**
 * `not_anchored`: no entry has this much of the log yet; entries are a minute apart. `damaged`: what is stored of the
 * anchor log does not fit its checkpoint, and an alarm was raised; the event's own proof stands without it.
 */
export const anchorStates = ['anchored', 'not_anchored', 'damaged'] as const
export type AnchorState = (typeof anchorStates)[number]

export interface Receipt {
  readonly proof: EventProof
  readonly anchorState: AnchorState
  /** There exactly where the state is `anchored`. */
  readonly anchored?: AnchoredRecord
}

export interface LogAnchor {
  readonly anchorState: AnchorState
  readonly anchor?: AnchorProof
}

export interface Receipts {
  /** undefined where the event is not sealed (yet). @throws AnnalsError `log_damaged` for the event's own log */
  receipt(organizationId: string, eventId: string): Promise<Receipt | undefined>
  /** The newest tree of a log that is anchored. */
  logAnchor(log: LogName): Promise<LogAnchor>
}

export interface ReceiptsDependencies {
  readonly log: Pick<LogReader, 'prove' | 'proveIn'>
  readonly anchoring: AnchorProver
  readonly alarms: Pick<Alarms, 'raise'>
}

export function createReceipts({ log, anchoring, alarms }: ReceiptsDependencies): Receipts {
  async function anchorOf(organizationId: string, size: number, generation?: number): Promise<LogAnchor> {
    try {
      const anchor = await anchoring.anchorProof(organizationId, size, generation)
      return anchor === undefined ? { anchorState: 'not_anchored' } : { anchorState: 'anchored', anchor }
    } catch (error) {
      if (!(error instanceof LogError)) throw error
      alarms.raise('log_damaged', {})
      return { anchorState: 'damaged' }
    }
  }

  /** The tree of the receipt is often the very one that is anchored. */
  async function recordProof(name: NamedLog, proof: EventProof, { size, root }: AnchorProof['log']) {
    const same = size === proof.size && equalHashes(root, proof.root)
    return same ? proof.hashes : log.proveIn(name, proof, { size, root })
  }

  return {
    async receipt(organizationId, eventId) {
      const proof = await log.prove(organizationId, eventId)
      if (proof === undefined) return undefined
      const { generation, index } = proof
      const { anchorState, anchor } = await anchorOf(organizationId, index + 1, generation)
      if (anchor === undefined) return { proof, anchorState }
      const hashes = await recordProof({ organizationId, generation }, proof, anchor.log)
      return { proof, anchorState, anchored: { anchor, recordProof: hashes } }
    },
    logAnchor: ({ organizationId, generation }) => anchorOf(organizationId, 1, generation),
  }
}
