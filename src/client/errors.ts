/** How the client fails: one class, with the code that the server or the client itself gave. */
import type { ErrorCode } from '../errors.js'

/** Codes of the client's own, beside the server's. */
export type ClientErrorCode =
  | ErrorCode
  /** No answer: the address, the network, or a connection that broke. */
  | 'unreachable'
  /** An answer that is not Annals'. */
  | 'unexpected_answer'
  /** `close()` was called. */
  | 'closed'
  /** The caller's signal. */
  | 'aborted'
  /** The input cannot be sent: no JSON, or an event without end. */
  | 'bad_input'

/** RFC 9457, as Annals answers it. */
export interface Problem {
  readonly type?: string
  readonly title?: string
  readonly status: number
  readonly code: ErrorCode
  readonly detail?: string
  readonly requestId?: string
  readonly errors?: readonly { readonly path: string; readonly code: string; readonly message: string }[]
}

export interface AnnalsClientErrorOptions {
  readonly status?: number | undefined
  readonly problem?: Problem | undefined
  readonly retryAfterMs?: number | undefined
  readonly cause?: unknown
}

export class AnnalsClientError extends Error {
  override readonly name = 'AnnalsClientError'
  /** The HTTP status; absent where there was no answer. */
  readonly status: number | undefined
  readonly problem: Problem | undefined
  /** What `Retry-After` asked for. */
  readonly retryAfterMs: number | undefined

  constructor(
    readonly code: ClientErrorCode,
    message: string,
    options: AnnalsClientErrorOptions = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.status = options.status
    this.problem = options.problem
    this.retryAfterMs = options.retryAfterMs
  }

  /** May the same request succeed a little later? With its idempotency key it stores nothing twice. */
  get temporary(): boolean {
    return this.code === 'unreachable' || isTemporaryStatus(this.status)
  }
}

export const isTemporaryStatus = (status: number | undefined): boolean =>
  status === 408 || status === 429 || status === 502 || status === 503 || status === 504

/** @param retryAfterSeconds of the header, or of a line of a stream */
export function errorOfProblem(problem: Problem, retryAfterSeconds?: number): AnnalsClientError {
  return new AnnalsClientError(problem.code, problem.detail ?? problem.title ?? problem.code, {
    status: problem.status,
    problem,
    retryAfterMs: retryAfterSeconds === undefined ? undefined : retryAfterSeconds * 1_000,
  })
}

/** Whatever an answer's body is, as a problem; undefined where it is none of Annals'. */
export function asProblem(body: unknown): Problem | undefined {
  if (typeof body !== 'object' || body === null || !('code' in body) || !('status' in body)) return undefined
  return typeof body.code === 'string' && typeof body.status === 'number' ? (body as Problem) : undefined
}
