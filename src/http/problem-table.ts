/** The one table from an error code to its HTTP status. `docs/errors.md` repeats it; a test holds both in step. */
import type { ErrorCode } from '../errors.js'

interface ProblemKind {
  readonly status: number
  readonly title: string
  /** What it means to who gets it, for `/docs/errors` and `docs/errors.md`. */
  readonly meaning: string
}

export const problemTable: Readonly<Record<ErrorCode, ProblemKind>> = {
  malformed: {
    status: 400,
    title: 'The request cannot be read',
    meaning: 'The body is no JSON in UTF-8, or the address cannot be decoded.',
  },
  cursor_invalid: {
    status: 400,
    title: 'The cursor is not valid here',
    meaning: 'It was changed, was made for other filters, or comes from another deployment.',
  },
  unauthenticated: {
    status: 401,
    title: 'An access key is needed',
    meaning: 'No key was sent as `Authorization: Bearer …`, or it is unknown, expired or revoked.',
  },
  forbidden: {
    status: 403,
    title: 'The key may not do this',
    meaning: 'The role of the key, or its grant, does not allow the request.',
  },
  four_eyes: {
    status: 403,
    title: 'A second person must do this',
    meaning: 'Who submitted a request never decides on it, whichever key they use.',
  },
  not_found: {
    status: 404,
    title: 'Not found',
    meaning: 'There is no such thing, or the key is not bound to its organization.',
  },
  method_not_allowed: {
    status: 405,
    title: 'The method is not allowed here',
    meaning: 'The address exists; the `Allow` header lists its methods.',
  },
  idempotency_conflict: {
    status: 409,
    title: 'The idempotency key was used with another body',
    meaning: 'The first request with this key or id had another body. Nothing was stored.',
  },
  already_finished: {
    status: 409,
    title: 'The scan has already finished',
    meaning: 'A scan takes one finish only; the first one stands.',
  },
  key_exists: {
    status: 409,
    title: 'This request has already made a key',
    meaning: 'The idempotency key was used before. A secret is shown once and cannot be shown again.',
  },
  version_exists: {
    status: 409,
    title: 'This version of the action has another schema',
    meaning: 'A version of an action schema never changes. Put the new schema under a new version.',
  },
  wrong_state: {
    status: 409,
    title: 'The state does not allow this',
    meaning: 'The thing exists and is not in a state in which this can be done to it.',
  },
  subject_erased: {
    status: 409,
    title: 'The person is erased',
    meaning: 'The person was erased, or is past the point of no return: nothing is left that could be held.',
  },
  on_hold: {
    status: 409,
    title: 'A legal hold covers it',
    meaning: 'A hold in force covers what was to go. Release the hold first; nothing was changed.',
  },
  offboarded: {
    status: 409,
    title: 'The organization is offboarded',
    meaning: 'It takes nothing any more, its keys are or will be destroyed, and its id is never given again.',
  },
  expired: {
    status: 410,
    title: 'It has expired',
    meaning: 'It was there, and was deleted when its time was over. What is left of an event is its proof.',
  },
  not_complete: {
    status: 409,
    title: 'The erasure is not complete',
    meaning:
      'Something is still to be done, or still remains: there is no certificate yet. Follow its state.',
  },
  not_sealed: {
    status: 409,
    title: 'Not sealed into the log yet',
    meaning: 'It is accepted, and in no checkpoint yet. Try again after `Retry-After` seconds.',
  },
  too_large: {
    status: 413,
    title: 'The request is too large',
    meaning: 'The body is over the limit that `detail` names.',
  },
  unsupported_media_type: {
    status: 415,
    title: 'The media type is not supported',
    meaning: 'Bodies are `application/json` in UTF-8, plain or as gzip, deflate or br.',
  },
  wrong_region: {
    status: 421,
    title: 'The organization lives in another region',
    meaning: 'Nothing was stored. The members `region` and `url` say where to send the request.',
  },
  invalid: {
    status: 422,
    title: 'The request does not fit its schema',
    meaning: 'The member `errors` names each place, what is wrong there, and a code of its own.',
  },
  too_many_failures: {
    status: 422,
    title: 'Too many lines of the stream failed',
    meaning: 'The stream was stopped. Lines up to `line` are answered; the rest was not read.',
  },
  stream_stalled: {
    status: 408,
    title: 'The stream stood still for too long',
    meaning:
      'No line was sent, or no answer was read. Lines up to `line` are answered; the rest was not read.',
  },
  rate_limited: {
    status: 429,
    title: 'Too many requests',
    meaning: 'Try again after the seconds in `Retry-After`.',
  },
  internal: {
    status: 500,
    title: 'Something went wrong inside',
    meaning: 'The log has the failure under the `requestId` of the answer.',
  },
  erasures_unapplied: {
    status: 503,
    title: 'The database is older than the erasure ledger',
    meaning:
      'It was restored from a backup of before an erasure, or the ledger does not hang together. Nothing is served, stored or sealed until an operator has run `annals doctor --apply-erasures`.',
  },
  log_damaged: {
    status: 500,
    title: 'The log is damaged',
    meaning:
      'What is stored of the log does not fit its checkpoint, so nothing is proved from it. An alarm was raised.',
  },
  archive_damaged: {
    status: 500,
    title: 'The archive is damaged',
    meaning:
      'What lies in the archive is not what was archived; `detail` names the object. Nothing is shown from it.',
  },
  overloaded: {
    status: 503,
    title: 'Busy',
    meaning: 'A queue is full. Nothing of the request was stored. Try again after `Retry-After` seconds.',
  },
  unavailable: {
    status: 503,
    title: 'Not available for a moment',
    meaning: 'The database is away. Try again after `Retry-After` seconds, with the same idempotency key.',
  },
  temporal_unavailable: {
    status: 503,
    title: 'The workflow service is not available for a moment',
    meaning: 'Temporal is away. Nothing was stored. Try again after `Retry-After` seconds.',
  },
}
