/** Failures as RFC 9457 problem documents: what a client sees, whatever was thrown. */
import type { ServerResponse } from 'node:http'
import { AnnalsError, type ErrorCode, type FieldError } from '../errors.js'
import type { Logger } from '../logging.js'
import { isMongoUnavailable } from '../mongo/unavailable.js'
import { problemTable } from './problem-table.js'
import { requestIdOf } from './request-context.js'

export interface ProblemDocument {
  readonly type: string
  readonly title: string
  readonly status: number
  readonly code: ErrorCode
  readonly detail: string
  readonly requestId: string
  readonly errors?: readonly FieldError[]
}

const defaultRetryAfterSeconds = 1

/**
 * The `AnnalsError` that stands for whatever was thrown: itself, `unavailable` where MongoDB is away, an error
 * of the HTTP layer by its status, else `internal`. Nothing of a foreign error's message gets into it.
 */
export function annalsErrorOf(error: unknown): AnnalsError {
  if (error instanceof AnnalsError) return error
  if (isMongoUnavailable(error)) {
    return new AnnalsError('unavailable', 'The database cannot be reached.', { cause: error })
  }
  // Express and its body parsers: an address that cannot be decoded, a body that cannot be read.
  switch (statusOf(error)) {
    case 400:
      return new AnnalsError('malformed', 'The address or the body cannot be read.', { cause: error })
    case 413:
      return new AnnalsError('too_large', 'The body is over the limit of this address.', { cause: error })
    case 415:
      return new AnnalsError('unsupported_media_type', 'The body has an encoding that is not taken.', {
        cause: error,
      })
  }
  return new AnnalsError('internal', 'The request failed. The log has the cause under the request id.', {
    cause: error,
  })
}

function statusOf(error: unknown): unknown {
  return error instanceof Error && 'status' in error ? error.status : undefined
}

/** The document for an error; also what a batch answers for one of its items. */
export function problemDocument(error: AnnalsError, requestId: string): ProblemDocument {
  const { status, title } = problemTable[error.code]
  return {
    type: `/docs/errors#${error.code}`,
    title,
    status,
    code: error.code,
    detail: error.detail,
    requestId,
    ...(error.errors.length > 0 ? { errors: error.errors } : {}),
    ...error.members,
  }
}

/** Answers with the problem. `Retry-After` goes with every 429 and 503, and wherever the error asks for it. */
export function sendProblem(response: ServerResponse, error: AnnalsError, requestId: string): void {
  const document = problemDocument(error, requestId)
  response.statusCode = document.status
  response.setHeader('content-type', 'application/problem+json')
  response.setHeader('cache-control', 'no-store')
  const waits = document.status === 429 || document.status === 503
  const seconds = error.retryAfterSeconds ?? (waits ? defaultRetryAfterSeconds : undefined)
  if (seconds !== undefined) response.setHeader('retry-after', String(Math.max(1, Math.ceil(seconds))))
  if (document.status === 401) response.setHeader('www-authenticate', 'Bearer realm="annals"')
  response.end(JSON.stringify(document))
}

/**
 * Answers whatever was thrown as a problem document; one that is Annals' own fault is logged by its identity.
 * False = part of an answer is out already; nothing was sent.
 */
export function answerFailure(response: ServerResponse, error: unknown, logger: Logger): boolean {
  const problem = annalsErrorOf(error)
  const requestId = requestIdOf(response)
  if (problem.code === 'internal')
    logger.error('request.failed', { requestId, error: problem.cause ?? problem })
  else if (problem.code === 'unavailable') logger.warn('request.unavailable', { requestId, error: problem })
  if (response.headersSent) return false
  sendProblem(response, problem, requestId)
  return true
}
