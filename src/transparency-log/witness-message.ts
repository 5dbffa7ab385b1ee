/**
 * What a log and a witness say to each other: the bodies of C2SP tlog-witness `POST <prefix>/add-checkpoint`.
 *
 *   request   old <size of the tree the witness saw last: decimal>
 *             <base64 hash>              (consistency proof from it, at most 63; none from size 0)
 *             <an empty line>
 *             <the signed checkpoint>
 *
 *   200       one signature line (note.ts) or more, each ending in a newline: the cosignatures
 *   409       <size of the tree the witness saw last> and a newline, as `text/x.tlog.size`
 *
 * Example: a log of two leaves, shown to a witness that saw it with one: `old 1`, the leaf hash of the second leaf
 * (all that the proof from 1 to 2 is), an empty line, and the checkpoint of tlog-proof.ts.
 */
import { base64, base64Bytes, decimal } from './encoding.js'
import { LogError } from './errors.js'
import { hashLength } from './hash.js'
import { maxNoteBytes, maxNoteSignatures, parseNote, parseSignatureLine, type NoteSignature } from './note.js'
import type { Proof } from './proof.js'

export interface AddCheckpointRequest {
  readonly oldSize: number
  /** Consistency proof from `oldSize` to the checkpoint's size. */
  readonly proof: Proof
  /** The signed note. */
  readonly checkpoint: string
}

const maxHashes = 63

/** @throws LogError `malformed_witness_message` where it could not be read again; `malformed_note` for the checkpoint */
export function formatAddCheckpoint(request: AddCheckpointRequest): string {
  const { oldSize, proof, checkpoint } = request
  if (!Number.isSafeInteger(oldSize) || oldSize < 0) throw malformed('the old size is no tree size')
  if (proof.length > maxHashes || proof.some((hash) => hash.length !== hashLength)) {
    throw malformed('a proof has at most 63 hashes of 32 bytes')
  }
  parseNote(checkpoint)
  return `${[`old ${oldSize}`, ...proof.map(base64)].join('\n')}\n\n${checkpoint}`
}

/** @throws LogError `malformed_witness_message` | `malformed_note` */
export function parseAddCheckpoint(body: string): AddCheckpointRequest {
  if (body.length > 2 * maxNoteBytes) throw malformed('the request is too large')
  const end = body.indexOf('\n\n')
  const [first = '', ...lines] = body.slice(0, Math.max(end, 0)).split('\n')
  const oldSize = first.startsWith('old ') ? decimal(first.slice('old '.length)) : undefined
  if (oldSize === undefined) throw malformed('the first line is not the old size')
  if (lines.length > maxHashes) throw malformed('a proof has at most 63 hashes')
  const proof = lines.map((line) => {
    const hash = base64Bytes(line)
    if (hash?.length !== hashLength) throw malformed('a line of the proof is no SHA-256 hash')
    return hash
  })
  const checkpoint = body.slice(end + 2)
  parseNote(checkpoint)
  return { oldSize, proof, checkpoint }
}

/**
 * The cosignatures a witness answered, none of them verified: add them to the checkpoint's note and open that.
 * @throws LogError `malformed_witness_message` | `malformed_note`
 */
export function parseCosignatures(body: string): NoteSignature[] {
  if (!body.endsWith('\n')) throw malformed('expected signature lines, each ending in a newline')
  const lines = body.slice(0, -1).split('\n')
  if (lines.length > maxNoteSignatures) throw malformed('a witness answers at most 100 signatures')
  return lines.map(parseSignatureLine)
}

/** The size in a witness's 409. @throws LogError `malformed_witness_message` */
export function parseWitnessSize(body: string): number {
  const size = body.endsWith('\n') ? decimal(body.slice(0, -1)) : undefined
  if (size === undefined) throw malformed('expected a tree size and a newline')
  return size
}

function malformed(detail: string): LogError {
  return new LogError('malformed_witness_message', detail)
}
