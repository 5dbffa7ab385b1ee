/**
 * The one error class that crosses a module boundary in Annals, and the closed list of its codes.
 *
 * A service throws `AnnalsError` with a code; the HTTP edge (`http/problem.ts`) turns the code into a status
 * in one table, the CLI into an exit code. `docs/errors.md` lists every code; a test holds both in step.
 * No message here may quote what a client sent: messages end up in logs, failures and support tickets.
 */

/** Every problem code an answer can carry. The status of each stands in `http/problem.ts`. */
export const errorCodes = [
  'malformed',
  'unauthenticated',
  'forbidden',
  'not_found',
  'method_not_allowed',
  'too_large',
  'unsupported_media_type',
  'wrong_region',
  'invalid',
  'idempotency_conflict',
  'already_finished',
  'key_exists',
  'version_exists',
  'wrong_state',
  'four_eyes',
  'subject_erased',
  'on_hold',
  'offboarded',
  'expired',
  'not_complete',
  'not_sealed',
  'cursor_invalid',
  'too_many_failures',
  'stream_stalled',
  'rate_limited',
  'overloaded',
  'unavailable',
  'temporal_unavailable',
  'erasures_unapplied',
  'log_damaged',
  'archive_damaged',
  'internal',
] as const

export type ErrorCode = (typeof errorCodes)[number]

/** Every code that one place of a request can be refused with; `docs/errors.md` says what each means. */
export const fieldErrorCodes = [
  // the shape of a body
  'unknown_field',
  'forbidden_key',
  'missing',
  'wrong_type',
  'not_allowed',
  'conflict',
  // text and numbers
  'malformed_value',
  'malformed_id',
  'malformed_time',
  'no_time_zone',
  'time_in_future',
  'time_in_past',
  'too_long',
  'too_short',
  'too_large',
  'too_small',
  'too_deep',
  'too_many',
  'too_few',
  'lone_surrogate',
  'nul_character',
  'unsafe_number',
  // what is Annals' own
  'reserved_action',
  'reserved_category',
  'personal_data',
  'unknown_person',
  // an access key (`errors[0]` of a 401)
  'unknown',
  'expired',
  'revoked',
] as const

export type FieldErrorCode = (typeof fieldErrorCodes)[number]

/** What is wrong with one place of a request: `path` is dotted (`actor.id`, `targets[0].name`), '' for the whole. */
export interface FieldError {
  readonly path: string
  readonly code: FieldErrorCode
  readonly message: string
}

export interface AnnalsErrorOptions {
  readonly errors?: readonly FieldError[]
  /** Seconds after which a retry makes sense; becomes the `Retry-After` header. */
  readonly retryAfterSeconds?: number
  /** Further members of the problem document, such as the address of another region. */
  readonly members?: Readonly<Record<string, string>>
  readonly cause?: unknown
}

/** A failure with a stable code. `detail` is for people and holds no value a client sent. */
export class AnnalsError extends Error {
  readonly errors: readonly FieldError[]
  readonly retryAfterSeconds: number | undefined
  readonly members: Readonly<Record<string, string>>

  constructor(
    readonly code: ErrorCode,
    readonly detail: string,
    options: AnnalsErrorOptions = {},
  ) {
    super(`${code}: ${detail}`, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'AnnalsError'
    this.errors = options.errors ?? []
    this.retryAfterSeconds = options.retryAfterSeconds
    this.members = options.members ?? {}
  }
}

/** The one 404. What is absent and what is another organization's must not differ by a byte. */
export const notFound = (): AnnalsError =>
  new AnnalsError('not_found', 'There is no such thing, or not for this key.')

/** Of what was there and has expired: only ever said to who may read its organization. */
export const expired = (): AnnalsError =>
  new AnnalsError(
    'expired',
    'It has expired, and was deleted. Its leaf, and what is left of it, is in the log.',
  )

/** So many places are named, at most. */
export const maxFieldErrors = 50

/** The 422 for these places. */
export const invalid = (errors: readonly FieldError[]): AnnalsError =>
  new AnnalsError('invalid', 'The request does not fit its schema; see errors.', {
    errors: errors.slice(0, maxFieldErrors),
  })

/** The 422 for one place. */
export const invalidField = (path: string, code: FieldErrorCode, message: string): AnnalsError =>
  invalid([{ path, code, message }])

/** Says which error a value is, for a log line: class and code, never the message (it may quote values). */
export function errorIdentity(error: unknown): { name: string; code?: string } {
  if (!(error instanceof Error)) return { name: typeof error }
  const code = 'code' in error ? error.code : undefined
  return typeof code === 'string' || typeof code === 'number'
    ? { name: error.name, code: String(code) }
    : { name: error.name }
}
