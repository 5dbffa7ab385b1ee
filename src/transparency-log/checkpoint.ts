/**
 * Checkpoints: C2SP tlog-checkpoint. What a log commits to, as the text of a signed note (note.ts):
 *
 *   <origin: which log>
 *   <tree size: decimal>
 *   <root hash: base64>
 *   <extension lines, if any>
 *
 * Example, signed by the key of note-key.ts:
 *
 *   annals.example/org/org_acme
 *   600
 *   TjJyBVy5NFmEFwSEtae/PesgwMd3m0YRyx7XGnNleV8=
 *
 *   — annals.example/org/org_acme VZsGKSL0Koyd+yYSPnQAQdFDFaNfX9UhbJNhDGWPCSupIlbd3HggTDleNT0r8FPFi/kv0Ye9jwN5UXrDu6o43i/TUwM=
 */
import { base64, base64Bytes, decimal } from './encoding.js'
import { LogError } from './errors.js'
import { emptyRoot, equalHashes, hashLength, requireHash, type Hash } from './hash.js'
import { isBy, openNote, type NoteSignature, type Verifier } from './note.js'
import { requireSize } from './tree.js'

export interface Checkpoint {
  readonly origin: string
  readonly size: number
  readonly root: Hash
  /** Lines after the root. Annals writes none. */
  readonly extensions: readonly string[]
}

/** Which log, and the keys that speak for it. */
export interface TrustedLog {
  readonly origin: string
  /** Any one of these makes a checkpoint the log's. */
  readonly logKeys: readonly Verifier[]
  /** Their cosignatures are checked and reported; how many are needed is the caller's policy. */
  readonly witnessKeys?: readonly Verifier[]
}

export interface OpenedCheckpoint extends Checkpoint {
  /** Verified signatures of the log's keys, at least one. */
  readonly logSignatures: readonly NoteSignature[]
  /** Verified cosignatures of known witnesses. */
  readonly cosignatures: readonly NoteSignature[]
  /** By keys that are not known. They prove nothing. */
  readonly unverified: readonly NoteSignature[]
}

/** The text to sign. @throws LogError `malformed_checkpoint` | `wrong_size` */
export function formatCheckpoint(checkpoint: Checkpoint): string {
  requireSize(checkpoint.size)
  requireHash(checkpoint.root, 'a root')
  const lines = [
    checkpoint.origin,
    String(checkpoint.size),
    base64(checkpoint.root),
    ...checkpoint.extensions,
  ]
  if (lines.some((line) => line === '' || line.includes('\n'))) {
    throw new LogError('malformed_checkpoint', 'origin and extensions are lines, and not empty')
  }
  return lines.map((line) => `${line}\n`).join('')
}

/** Reads the text of a checkpoint's note. @throws LogError `malformed_checkpoint` */
export function parseCheckpoint(text: string): Checkpoint {
  if (!text.endsWith('\n')) throw new LogError('malformed_checkpoint', 'a checkpoint ends in a newline')
  const [origin, sizeText, rootText, ...extensions] = text.slice(0, -1).split('\n')
  const size = decimal(sizeText ?? '')
  const root = base64Bytes(rootText ?? '')
  if (origin === undefined || origin === '' || extensions.includes('')) {
    throw new LogError('malformed_checkpoint', 'a checkpoint has no empty line')
  }
  if (size === undefined)
    throw new LogError('malformed_checkpoint', 'the second line is no tree size below 2^53')
  if (root?.length !== hashLength)
    throw new LogError('malformed_checkpoint', 'the third line is no SHA-256 root')
  if (size === 0 && !equalHashes(root, emptyRoot())) {
    throw new LogError('malformed_checkpoint', 'an empty tree has the root of the empty tree')
  }
  return { origin, size, root, extensions }
}

/**
 * Opens a signed checkpoint of one log. A witness's cosignature alone makes no checkpoint: a key of the log must
 * have signed.
 * @throws LogError `malformed_note` | `bad_signature` | `unknown_signer` | `malformed_checkpoint`;
 *   `wrong_origin` where it is another log's
 */
export function openCheckpoint(note: Uint8Array | string, log: TrustedLog): OpenedCheckpoint {
  const { text, verified, unverified } = openNote(note, [...log.logKeys, ...(log.witnessKeys ?? [])])
  const byLog = (signature: NoteSignature) => log.logKeys.some((key) => isBy(signature, key))
  const logSignatures = verified.filter(byLog)
  if (logSignatures.length === 0)
    throw new LogError('unknown_signer', 'no key of the log signed the checkpoint')
  const checkpoint = parseCheckpoint(text)
  if (checkpoint.origin !== log.origin) throw new LogError('wrong_origin', 'the checkpoint is of another log')
  const cosignatures = verified.filter((signature) => !byLog(signature))
  return { ...checkpoint, logSignatures, cosignatures, unverified }
}
