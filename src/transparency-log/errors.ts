/**
 * The one error class of the log's core and the closed list of what can be wrong. No message quotes what was
 * read: a note, a proof or a record may come from a stranger and messages end up in logs.
 */
export const logErrorCodes = [
  // What was read is not in its format.
  'malformed_note',
  'malformed_key',
  'malformed_checkpoint',
  'malformed_proof',
  'malformed_tile_path',
  'malformed_bundle',
  'malformed_entry',
  'malformed_witness_message',
  // A size, index or length that cannot be: negative, too large, or not the one the other values call for.
  'wrong_size',
  // The format is right and the cryptography is not.
  'bad_signature',
  'unknown_signer',
  'wrong_origin',
  'proof_mismatch',
  'tile_mismatch',
  'entry_too_large',
] as const

export type LogErrorCode = (typeof logErrorCodes)[number]

/**
 * A failure of the log's core. `detail` says what is wrong, and never with which content; `at` names the object
 * where there is one, such as `tile/0/000.p/4`.
 */
export class LogError extends Error {
  override readonly name = 'LogError'

  constructor(
    readonly code: LogErrorCode,
    readonly detail: string,
    readonly at?: string,
  ) {
    super(at === undefined ? `${code}: ${detail}` : `${code}: ${detail} (${at})`)
  }
}
