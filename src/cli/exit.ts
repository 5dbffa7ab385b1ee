/** From a failure to an exit code and a few words. The codes are pinned in INTERFACE.md. */
import { CommanderError } from 'commander'
import { MongoError } from 'mongodb'
import { AnnalsClientError, type ClientErrorCode } from '../client/index.js'
import { ConfigError } from '../config.js'
import { AnnalsError, errorIdentity, type ErrorCode } from '../errors.js'
import { isMongoUnavailable } from '../mongo/unavailable.js'
import { AddressError } from '../archive/stores/address.js'
import { ArchiveStoreError } from '../archive/stores/contract.js'
import { TamperingError, TrustError } from '../verification/errors.js'

export const exitCodes = { ok: 0, failed: 1, usage: 2, tampering: 3, unreachable: 4, refused: 5 } as const
export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes]

const byErrorCode: Readonly<Record<ErrorCode, ExitCode>> = {
  malformed: exitCodes.usage,
  cursor_invalid: exitCodes.usage,
  invalid: exitCodes.usage,
  too_large: exitCodes.usage,
  unsupported_media_type: exitCodes.usage,
  method_not_allowed: exitCodes.usage,
  unauthenticated: exitCodes.refused,
  forbidden: exitCodes.refused,
  not_found: exitCodes.refused,
  expired: exitCodes.refused,
  wrong_region: exitCodes.refused,
  idempotency_conflict: exitCodes.refused,
  already_finished: exitCodes.refused,
  key_exists: exitCodes.refused,
  version_exists: exitCodes.refused,
  wrong_state: exitCodes.refused,
  on_hold: exitCodes.refused,
  offboarded: exitCodes.refused,
  four_eyes: exitCodes.refused,
  subject_erased: exitCodes.refused,
  not_complete: exitCodes.refused,
  not_sealed: exitCodes.refused,
  too_many_failures: exitCodes.failed,
  stream_stalled: exitCodes.unreachable,
  rate_limited: exitCodes.unreachable,
  overloaded: exitCodes.unreachable,
  unavailable: exitCodes.unreachable,
  erasures_unapplied: 5,
  temporal_unavailable: exitCodes.unreachable,
  log_damaged: exitCodes.tampering,
  archive_damaged: exitCodes.tampering,
  internal: exitCodes.failed,
}

const byClientCode: Readonly<Record<ClientErrorCode, ExitCode>> = {
  ...byErrorCode,
  unreachable: exitCodes.unreachable,
  unexpected_answer: exitCodes.failed,
  closed: exitCodes.failed,
  aborted: exitCodes.failed,
  bad_input: exitCodes.usage,
}

export interface Failure {
  readonly exitCode: ExitCode
  /** Absent where commander has already said it. */
  readonly text?: string
  readonly code?: string
}

export function failureOf(error: unknown): Failure {
  if (error instanceof CommanderError) {
    return { exitCode: error.exitCode === 0 ? exitCodes.ok : exitCodes.usage }
  }
  if (error instanceof ConfigError) return { exitCode: exitCodes.usage, text: error.message, code: 'config' }
  if (error instanceof TamperingError)
    return { exitCode: exitCodes.tampering, text: error.message, code: 'tampering' }
  if (error instanceof AddressError)
    return { exitCode: exitCodes.usage, text: `The address ${error.message}.`, code: 'address' }
  if (error instanceof ArchiveStoreError)
    return { exitCode: exitCodes.unreachable, text: `The archive: ${error.message}.`, code: error.code }
  if (error instanceof TrustError) return { exitCode: exitCodes.usage, text: error.message, code: 'trust' }
  if (error instanceof AnnalsError) {
    const text = `${error.detail}${placesOf(error.errors)}`
    return { exitCode: byErrorCode[error.code], text, code: error.code }
  }
  if (error instanceof AnnalsClientError) {
    const text = `${error.message}${placesOf(error.problem?.errors ?? [])}`
    return { exitCode: byClientCode[error.code], text, code: error.code }
  }
  if (isMongoUnavailable(error)) {
    return {
      exitCode: exitCodes.unreachable,
      text: 'MongoDB cannot be reached; see ANNALS_MONGODB_URI.',
      code: 'unavailable',
    }
  }
  if (isGrpcUnavailable(error)) {
    return {
      exitCode: exitCodes.unreachable,
      text: 'Temporal cannot be reached; see ANNALS_TEMPORAL_ADDRESS.',
      code: 'temporal_unavailable',
    }
  }
  // The server's own messages quote values.
  const { name, code } = errorIdentity(error)
  const text =
    error instanceof Error && !(error instanceof MongoError) ? error.message : `${name} ${code ?? ''}`
  return { exitCode: exitCodes.failed, text: text.trim(), code: 'failed' }
}

/** What is wrong where, a line each. */
const placesOf = (errors: readonly { readonly path: string; readonly message: string }[]): string =>
  errors.map(({ path, message }) => `\n  ${path === '' ? 'the whole' : path}: ${message}`).join('')

/** By its shape, so that `--help` need not load Temporal's client: gRPC's DEADLINE_EXCEEDED (4) and UNAVAILABLE (14). */
function isGrpcUnavailable(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  const own = 'code' in error && 'metadata' in error && (error.code === 4 || error.code === 14)
  return own || isGrpcUnavailable(error.cause)
}
