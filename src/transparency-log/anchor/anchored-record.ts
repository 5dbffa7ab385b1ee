/**
 * What a receipt has of the anchor log: the proof that it has a tree of the record's own log (anchor-proof.ts), and the
 * proof that the record is in that very tree, which may be another than the receipt's checkpoint is for.
 *
 *   record ── `recordProof` ──► root of the anchored tree ── anchor proof ──► anchor checkpoint ── witnesses
 *
 * In a receipt as JSON it is the member `anchor`, an anchor proof with `recordProof` beside; in one as text, the `extra`
 * data of tlog-proof: the UTF-8 bytes of `{"anchor": …}`. C2SP leaves `extra` unauthenticated, and nothing of it has to be
 * believed: it proves itself.
 */
import { base64, base64Bytes, utf8, utf8Text } from '../encoding.js'
import { LogError } from '../errors.js'
import { hashLength, type Hash } from '../hash.js'
import type { Proof } from '../proof.js'
import {
  anchorProofFromJson,
  anchorProofToJson,
  type AnchorProof,
  type AnchorProofJson,
} from './anchor-proof.js'

export interface AnchoredRecord {
  readonly anchor: AnchorProof
  /** Of the record, in the tree of `anchor.log`. */
  readonly recordProof: Proof
}

export interface AnchoredRecordJson extends AnchorProofJson {
  readonly recordProof: readonly string[]
}

const maxHashes = 63

export const anchoredRecordToJson = ({ anchor, recordProof }: AnchoredRecord): AnchoredRecordJson => ({
  ...anchorProofToJson(anchor),
  recordProof: recordProof.map(base64),
})

/** Reads it from JSON that a stranger may have made. @throws LogError `malformed_proof` | `wrong_size` */
export function anchoredRecordFromJson(json: unknown): AnchoredRecord {
  const anchor = anchorProofFromJson(json)
  const given: unknown =
    typeof json === 'object' && json !== null && 'recordProof' in json && json.recordProof
  if (!Array.isArray(given) || given.length > maxHashes)
    throw malformed('a proof of a record has at most 63 hashes')
  return { anchor, recordProof: given.map(hashOf) }
}

/** The extra data of a receipt as text. */
export const anchorExtra = (anchored: AnchoredRecord): Uint8Array =>
  utf8(JSON.stringify({ anchor: anchoredRecordToJson(anchored) }))

/**
 * What a receipt's extra data has of the anchor log; undefined where it is somebody else's.
 * @throws LogError `malformed_proof` | `wrong_size`
 */
export function anchorOfExtra(extra: Uint8Array): AnchoredRecord | undefined {
  const json = parsed(utf8Text(extra))
  if (typeof json !== 'object' || json === null || !('anchor' in json)) return undefined
  return anchoredRecordFromJson(json.anchor)
}

function parsed(text: string | undefined): unknown {
  try {
    return text === undefined ? undefined : JSON.parse(text)
  } catch {
    return undefined
  }
}

function hashOf(text: unknown): Hash {
  const hash = typeof text === 'string' ? base64Bytes(text) : undefined
  if (hash?.length !== hashLength) throw malformed('a hash of the proof of the record is none')
  return hash
}

const malformed = (detail: string): LogError => new LogError('malformed_proof', detail)
