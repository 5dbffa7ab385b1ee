/**
 * Receipts: C2SP tlog-proof, `c2sp.org/tlog-proof@v1`. One text that proves, offline, that a record is in a log:
 *
 *   c2sp.org/tlog-proof@v1
 *   extra <base64>                     (only where there is extra data; it is not authenticated)
 *   index <leaf index: decimal>
 *   <base64 hash>                      (the inclusion proof, from the leaf's sibling up; none for a tree of one)
 *   <an empty line>
 *   <the signed checkpoint, byte for byte>
 *
 * Example: leaf 1 of a tree of two, whose sibling is the leaf hash of the empty record:
 *
 *   c2sp.org/tlog-proof@v1
 *   index 1
 *   bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=
 *
 *   annals.example/org/org_acme
 *   2
 *   8d6nK/7NAuAUq0gnAW2/iooXFSbadGZmXESbHWkLRSo=
 *
 *   — annals.example/org/org_acme VZsGKYU3undOWXKVQUwm8cuEAxcI5vNNXm0i4NFi2bLmBmDlKipyq6iFkackIV6Rv/bShEcfn8IvvIMfbtrtfItkXA8=
 *
 * The record itself lies beside the receipt; its leaf hash is what is proved.
 */
import { base64, base64Bytes, decimal, utf8Text } from './encoding.js'
import { LogError } from './errors.js'
import { hashLength, type Hash, type Hasher } from './hash.js'
import { openCheckpoint, type OpenedCheckpoint, type TrustedLog } from './checkpoint.js'
import { maxNoteBytes, parseNote } from './note.js'
import { checkRecord, type Proof } from './proof.js'

export interface TlogProof {
  /** Opaque and not authenticated. */
  readonly extra?: Uint8Array
  readonly index: number
  readonly hashes: Proof
  /** The signed note as the log gave it. */
  readonly checkpoint: string
}

const header = 'c2sp.org/tlog-proof@v1'
const maxHashes = 63

/** @throws LogError `malformed_proof` where it could not be read again; `malformed_note` for the checkpoint */
export function formatTlogProof(proof: TlogProof): string {
  if (!Number.isSafeInteger(proof.index) || proof.index < 0) throw malformed('the index is no leaf index')
  if (proof.hashes.length > maxHashes || proof.hashes.some((hash) => hash.length !== hashLength)) {
    throw malformed('a proof has at most 63 hashes of 32 bytes')
  }
  parseNote(proof.checkpoint)
  const lines = [
    header,
    ...(proof.extra === undefined ? [] : [`extra ${base64(proof.extra)}`]),
    `index ${proof.index}`,
    ...proof.hashes.map(base64),
  ]
  return `${lines.join('\n')}\n\n${proof.checkpoint}`
}

/**
 * Reads a receipt, checking its form and that of its note, and nothing else.
 * @throws LogError `malformed_proof` | `malformed_note`
 */
export function parseTlogProof(receipt: Uint8Array | string): TlogProof {
  // Extra data may be as large as a note; more than both is nobody's receipt.
  if (receipt.length > 2 * maxNoteBytes) throw malformed('the receipt is too large')
  const text = typeof receipt === 'string' ? receipt : utf8Text(receipt)
  if (text === undefined) throw malformed('the receipt is not UTF-8')
  // The first empty line ends the proof: no line of it is empty, and the checkpoint begins after it.
  const end = text.indexOf('\n\n')
  if (end === -1) throw malformed('there is no empty line before the checkpoint')
  const [first, ...lines] = text.slice(0, end).split('\n')
  if (first !== header) throw malformed('the first line does not name tlog-proof@v1')
  let extra: Uint8Array | undefined
  if (lines[0]?.startsWith('extra ') === true) {
    extra = base64Bytes(lines.shift()?.slice('extra '.length) ?? '')
    if (extra === undefined) throw malformed('the extra data is not base64')
  }
  const indexLine = lines.shift() ?? ''
  const index = indexLine.startsWith('index ') ? decimal(indexLine.slice('index '.length)) : undefined
  if (index === undefined) throw malformed('there is no index line')
  if (lines.length > maxHashes) throw malformed('a proof has at most 63 hashes')
  const hashes = lines.map(parseHash)
  const checkpoint = text.slice(end + 2)
  parseNote(checkpoint)
  return extra === undefined ? { index, hashes, checkpoint } : { extra, index, hashes, checkpoint }
}

/**
 * Checks a receipt: the log signed a checkpoint, and the record with this leaf hash is in its tree at the index.
 * @throws LogError every code of `openCheckpoint` and `checkRecord`, and `malformed_proof`
 */
export function openTlogProof(
  receipt: Uint8Array | string,
  leaf: Hash,
  log: TrustedLog,
  hasher: Hasher,
): { readonly index: number; readonly checkpoint: OpenedCheckpoint } {
  const { index, hashes, checkpoint: note } = parseTlogProof(receipt)
  const checkpoint = openCheckpoint(note, log)
  checkRecord(hashes, { size: checkpoint.size, root: checkpoint.root, index, leaf }, hasher)
  return { index, checkpoint }
}

function parseHash(line: string): Hash {
  const hash = base64Bytes(line)
  if (hash?.length !== hashLength) throw malformed('a line of the proof is no SHA-256 hash')
  return hash
}

function malformed(detail: string): LogError {
  return new LogError('malformed_proof', detail)
}
