/**
 * A receipt, offline: values → commitments → record → leaf → root → signature, and from the leaf to the anchor log too,
 * where it has that. It comes as a C2SP tlog-proof with the record beside it, or as the JSON that
 * `GET …/events/:id/proof` answers, in which all of it is together.
 */
import {
  anchoredRecordFromJson,
  anchorOfExtra,
  type AnchoredRecord,
} from '../transparency-log/anchor/anchored-record.js'
import { openCheckpoint, type TrustedLog } from '../transparency-log/checkpoint.js'
import { base64, base64Bytes, utf8 } from '../transparency-log/encoding.js'
import { LogError } from '../transparency-log/errors.js'
import type { Hash, Hasher } from '../transparency-log/hash.js'
import { checkRecord } from '../transparency-log/proof.js'
import { parseTlogProof } from '../transparency-log/tlog-proof.js'
import { checkAnchoredRecord, notAnchored, type AnchorTrust } from './anchor-check.js'
import type { AnchorReport, FieldReport, Finding, FindingCode, LeafName } from './contract.js'
import type { CheckEvent, FieldExcuse } from './event-check.js'
import { membersOf } from './event-values.js'

export interface Receipt {
  readonly index: number
  readonly hashes: readonly Hash[]
  /** The signed note. */
  readonly checkpoint: string
  /** Canonical JSON. */
  readonly record: string
  /** Of the anchor log, where it has this record already. */
  readonly anchored?: AnchoredRecord | undefined
  /** The event's verifiable form, where the receipt has it. */
  readonly event?: unknown
  /** The receipt was to have the event, and says that it is not there any more. */
  readonly eventIsGone?: boolean
  /** What is said to account for values that are gone from it; read by receipt-accounts.ts. */
  readonly accounts?: readonly unknown[]
  /** What the receipt says beside that, to be held against what it proves. */
  readonly said?: { readonly id?: unknown; readonly size?: unknown; readonly leafHash?: unknown }
}

/** A sealed event that accounts for values that are gone, and whose own proof holds. */
export interface AccountReport {
  readonly eventId: string
  readonly action: string
  readonly generation: number
  readonly index: number
  /** Of the fields that it accounts for. */
  readonly slots: readonly string[]
}

export interface ReceiptReport {
  readonly origin: string | undefined
  readonly size: number | undefined
  readonly index: number
  /** The event's id, from its record. */
  readonly eventId: string | undefined
  readonly record: string
  readonly fields: readonly FieldReport[]
  /**
   * The event was asked for, and is not there any more. Whether it had to go is not for one receipt to say: an expiry is
   * about a range, and how many went with it is known only by whoever counts them.
   */
  readonly eventIsGone: boolean
  /** Why those that are `erased` are. */
  readonly accounts: readonly AccountReport[]
  readonly anchor: AnchorReport
  readonly findings: readonly Finding[]
}

/** @throws LogError `malformed_proof` | `malformed_note` | `wrong_size` */
export function receiptOfText(receipt: string, record: string): Receipt {
  const { index, hashes, checkpoint, extra } = parseTlogProof(receipt)
  return {
    index,
    hashes,
    checkpoint,
    record,
    anchored: extra === undefined ? undefined : anchorOfExtra(extra),
  }
}

/** @throws LogError `malformed_proof` where it is not the JSON of a receipt; `wrong_size` */
export function receiptOfJson(json: unknown): Receipt {
  const { index, proof, checkpoint, record, anchor, event, accounts, id, size, leafHash } = membersOf(json)
  const hashes = Array.isArray(proof)
    ? proof.map((text: unknown) => (typeof text === 'string' ? base64Bytes(text) : undefined))
    : [undefined]
  const whole = hashes.flatMap((hash) => (hash === undefined ? [] : [hash]))
  if (typeof index !== 'number' || typeof checkpoint !== 'string' || whole.length !== hashes.length)
    throw new LogError('malformed_proof', 'this is not the JSON of a receipt')
  if (typeof record !== 'string') {
    throw new LogError('malformed_proof', 'the receipt has no record, and proves nothing without one')
  }
  const anchored = anchor === undefined || anchor === null ? undefined : anchoredRecordFromJson(anchor)
  const base = { index, hashes: whole, checkpoint, record, anchored, said: { id, size, leafHash } }
  if (event === undefined) return base
  if (event === null) return { ...base, eventIsGone: true }
  return { ...base, event, accounts: Array.isArray(accounts) ? (accounts as readonly unknown[]) : [] }
}

/**
 * Checks a receipt against the log it is said to be of. Never throws for what it holds.
 * @param anchor absent = an anchor proof is not checked, and said to be unverified
 * @param excuse says whether something sealed accounts for a value that is gone; absent = nothing does
 */
export function checkReceipt(
  receipt: Receipt,
  log: TrustedLog,
  hasher: Hasher,
  checkEvent: CheckEvent,
  anchor?: AnchorTrust,
  excuse?: FieldExcuse,
): Omit<ReceiptReport, 'accounts'> {
  const { index, hashes, record, said, event } = receipt
  const findings: Finding[] = []
  const eventId = recordId(record)
  const generation = Number(log.origin.slice(log.origin.lastIndexOf('/') + 1))
  const leaf: LeafName = { generation, index, eventId }
  const say = (code: FindingCode, at: string, detail: string, slots?: readonly string[]) =>
    findings.push({ code, at, detail, leaf, ...(slots === undefined ? {} : { slots }) })

  const leafHash = hasher.leaf(utf8(record))
  const seen =
    receipt.anchored === undefined
      ? { report: notAnchored, findings: [] }
      : checkAnchoredRecord(receipt.anchored, { index, leaf: leafHash }, anchor, hasher)
  const eventIsGone = receipt.eventIsGone === true
  const report = { index, eventId, record, eventIsGone, anchor: seen.report, findings }
  const opened = attempt(() => openCheckpoint(receipt.checkpoint, log))
  if (opened instanceof LogError) {
    say(codeOfCheckpoint(opened), 'checkpoint', opened.detail)
    findings.push(...seen.findings)
    return { ...report, origin: undefined, size: undefined, fields: [] }
  }
  const { size, root, origin } = opened
  const proved = attempt(() => checkRecord(hashes, { size, root, index, leaf: leafHash }, hasher))
  if (proved instanceof LogError) say('proof_invalid', 'proof', proved.detail)
  if (said?.size !== undefined && said.size !== size)
    say('proof_invalid', 'size', 'the receipt is for another size')
  if (said?.leafHash !== undefined && said.leafHash !== base64(leafHash))
    say('record_differs', 'record', 'the record does not make the leaf hash beside it')
  if (said?.id !== undefined && said.id !== eventId)
    say('event_misplaced', 'record', 'the record is of another event')
  findings.push(...seen.findings)
  if (event === undefined) return { ...report, origin, size, fields: [] }

  const { fields, problem } = checkEvent(event, record, excuse)
  if (problem !== undefined) say(problem.code, 'event', problem.detail, problem.slots)
  const missing = fields.filter(({ state }) => state === 'missing').map(({ slot }) => slot)
  if (problem === undefined && missing.length > 0)
    say('field_missing', 'event', 'a value is gone, and nothing sealed accounts for it', missing)
  return { ...report, origin, size, fields }
}

/** The id of the event that a record is of. */
export const recordId = (record: string): string | undefined => /"id":"([^"\\]{1,64})"/.exec(record)?.[1]

/** What opening a checkpoint can fail with, as a finding. */
export const codeOfCheckpoint = ({ code }: LogError): FindingCode =>
  code === 'wrong_origin' ? 'checkpoint_foreign' : 'checkpoint_invalid'

function attempt<Value>(work: () => Value): Value | LogError {
  try {
    return work()
  } catch (error) {
    if (error instanceof LogError) return error
    throw error
  }
}
