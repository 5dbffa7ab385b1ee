/**
 * The proof that a log's tree, of some size, stands in the anchor log: what a receipt carries beside the record's own.
 *
 *   log id, size, root ── salt, hashes ──► root of an entry ── hashes ──► root of the anchor checkpoint ── witnesses
 *
 * As JSON, all bytes in standard base64:
 *
 *   { "logId": "…", "size": 600, "root": "…",                the log's tree as the entry has it
 *     "salt": "…", "logsProof": ["…"],                       from its leaf to the entry's root
 *     "entry": "annals-anchor/v1\n…",
 *     "index": 4, "proof": ["…"],                            from the entry's leaf to the checkpoint's root
 *     "checkpoint": "annals.example/anchor\n…" }             the signed note, with the cosignatures of witnesses
 */
import { openCheckpoint, type OpenedCheckpoint, type TrustedLog } from '../checkpoint.js'
import { base64, base64Bytes, utf8 } from '../encoding.js'
import { LogError } from '../errors.js'
import { hashLength, type Hash, type Hasher } from '../hash.js'
import { checkRecord, type Proof } from '../proof.js'
import { requireSize } from '../tree.js'
import { logIdBytes, parseEntry, saltBytes, type AnchoredLog } from './entry.js'
import { checkLogsTree } from './logs-tree.js'

export interface AnchorProof {
  readonly log: AnchoredLog
  readonly salt: Uint8Array
  readonly logsProof: Proof
  readonly entry: string
  /** Of the entry in the anchor log. */
  readonly index: number
  readonly proof: Proof
  /** The anchor log's signed note. */
  readonly checkpoint: string
}

/** What a proof that holds says. Compare `log` with the tree one has of the organization's own log. */
export interface CheckedAnchor {
  readonly log: AnchoredLog
  readonly at: Date
  readonly checkpoint: OpenedCheckpoint
}

const maxHashes = 128

/**
 * Checks every step from the log's tree to the anchor checkpoint's signatures. How many cosignatures are enough is
 * the caller's policy.
 * @param anchor the anchor log: its origin, its keys, and the witnesses one trusts
 * @throws LogError every code of `openCheckpoint`, `checkRecord`, `checkLogsTree` and `parseEntry`
 */
export function checkAnchorProof(proof: AnchorProof, anchor: TrustedLog, hasher: Hasher): CheckedAnchor {
  const { log, salt, logsProof, entry, index } = proof
  const checkpoint = openCheckpoint(proof.checkpoint, anchor)
  const leaf = hasher.leaf(utf8(entry))
  checkRecord(proof.proof, { size: checkpoint.size, root: checkpoint.root, index, leaf }, hasher)
  const { at, root } = parseEntry(entry)
  checkLogsTree({ salt, hashes: logsProof }, log, root, hasher)
  return { log, at, checkpoint }
}

/** The proof as JSON has it. */
export interface AnchorProofJson {
  readonly logId: string
  readonly size: number
  readonly root: string
  readonly salt: string
  readonly logsProof: readonly string[]
  readonly entry: string
  readonly index: number
  readonly proof: readonly string[]
  readonly checkpoint: string
}

export function anchorProofToJson(proof: AnchorProof): AnchorProofJson {
  const { log, salt, logsProof, entry, index, checkpoint } = proof
  return {
    logId: base64(log.logId),
    size: log.size,
    root: base64(log.root),
    salt: base64(salt),
    logsProof: logsProof.map(base64),
    entry,
    index,
    proof: proof.proof.map(base64),
    checkpoint,
  }
}

/** Reads a proof from JSON that a stranger may have made. @throws LogError `malformed_proof` | `wrong_size` */
export function anchorProofFromJson(json: unknown): AnchorProof {
  if (typeof json !== 'object' || json === null) throw malformed('expected a JSON object')
  const members = new Map<string, unknown>(Object.entries(json))
  const text = (name: string): string => {
    const value = members.get(name)
    if (typeof value !== 'string') throw malformed('a text of the anchor proof is missing')
    return value
  }
  const count = (name: string): number => {
    const value = members.get(name)
    if (typeof value !== 'number') throw malformed('a number of the anchor proof is missing')
    requireSize(value)
    return value
  }
  const list = (name: string): Hash[] => {
    const value: unknown = members.get(name)
    if (!Array.isArray(value) || value.length > maxHashes) throw malformed('a proof has at most 128 hashes')
    return value.map((one: unknown) => bytes(one, hashLength))
  }
  return {
    log: {
      logId: bytes(text('logId'), logIdBytes),
      size: count('size'),
      root: bytes(text('root'), hashLength),
    },
    salt: bytes(text('salt'), saltBytes),
    logsProof: list('logsProof'),
    entry: text('entry'),
    index: count('index'),
    proof: list('proof'),
    checkpoint: text('checkpoint'),
  }
}

function bytes(text: unknown, length: number): Uint8Array {
  const read = typeof text === 'string' ? base64Bytes(text) : undefined
  if (read?.length !== length)
    throw malformed('bytes of the anchor proof are not base64, or not as many as they must')
  return read
}

function malformed(detail: string): LogError {
  return new LogError('malformed_proof', detail)
}
