/** One request and its answer over `fetch`; every way to fail becomes an `AnnalsClientError`. */
import { aborted } from './backoff.js'
import { AnnalsClientError, asProblem, errorOfProblem } from './errors.js'
import type { ClientOptions } from './types.js'

export interface TransportRequest {
  readonly method: string
  /** From `/v1/` on. */
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | ReadableStream<Uint8Array>
  readonly signal?: AbortSignal | undefined
  /** The whole request may take this long; absent = as long as it likes. */
  readonly timeoutMs?: number
  /** Lets a browser finish it while the page goes away. */
  readonly keepalive?: boolean
}

export type Send = (request: TransportRequest) => Promise<Response>

const defaultTimeoutMs = 30_000

/**
 * What a request needs whose body is a stream; `duplex` is missing in some type declarations. Where redirects are
 * followed, the standard's fetch sends a clone of the request, and Node's keeps all that was sent for the original, as
 * long as the request lasts. A stream cannot follow a redirect anyway.
 */
const streamedBody = { duplex: 'half', redirect: 'error' } as const

/**
 * Makes the function that sends. A 2xx answer is returned, its body unread.
 * @throws (each call) AnnalsClientError
 */
export function createTransport({ url, key, fetch = globalThis.fetch }: ClientOptions): Send {
  const base = url.replace(/\/+$/, '')
  return async ({ method, path, headers, body, signal, timeoutMs, keepalive }) => {
    const signals = [signal, timeoutMs === undefined ? undefined : AbortSignal.timeout(timeoutMs)]
    const present = signals.filter((one) => one !== undefined)
    const streamed = body instanceof ReadableStream ? streamedBody : {}
    const init: RequestInit = {
      method,
      headers: { authorization: `Bearer ${key}`, ...headers },
      ...(body === undefined ? {} : { body }),
      ...(present.length === 0 ? {} : { signal: AbortSignal.any(present) }),
      ...(keepalive === true ? { keepalive } : {}),
      ...streamed,
    }
    let response: Response
    try {
      response = await fetch(base + path, init)
    } catch (error) {
      throw failureOf(error, signal)
    }
    if (response.ok) return response
    throw await refusal(response)
  }
}

/** A request with a JSON answer. @throws AnnalsClientError */
export async function requestJson(
  send: Send,
  request: Omit<TransportRequest, 'body'> & { readonly json?: unknown },
): Promise<unknown> {
  const { json, headers, timeoutMs = defaultTimeoutMs, ...rest } = request
  const response = await send({
    ...rest,
    timeoutMs,
    headers: json === undefined ? { ...headers } : { 'content-type': 'application/json', ...headers },
    ...(json === undefined ? {} : { body: JSON.stringify(json) }),
  })
  try {
    return response.status === 204 ? undefined : await response.json()
  } catch (error) {
    throw failureOf(error, request.signal)
  }
}

/** No answer, or one that broke off. */
export function failureOf(error: unknown, signal?: AbortSignal): AnnalsClientError {
  if (error instanceof AnnalsClientError) return error
  if (signal?.aborted === true) return aborted(signal)
  if (error instanceof SyntaxError) {
    return new AnnalsClientError('unexpected_answer', 'The answer is no JSON; is this the address of Annals?')
  }
  return new AnnalsClientError('unreachable', 'Annals cannot be reached, or the connection broke.', {
    cause: error,
  })
}

async function refusal(response: Response): Promise<AnnalsClientError> {
  const retryAfter = Number(response.headers.get('retry-after') ?? Number.NaN)
  const retryAfterSeconds = Number.isFinite(retryAfter) ? retryAfter : undefined
  const text = await response.text().catch(() => '')
  let body: unknown
  try {
    body = JSON.parse(text)
  } catch {
    body = undefined
  }
  const problem = asProblem(body)
  if (problem !== undefined) return errorOfProblem(problem, retryAfterSeconds)
  return new AnnalsClientError('unexpected_answer', `The server answered ${response.status}.`, {
    status: response.status,
    retryAfterMs: retryAfterSeconds === undefined ? undefined : retryAfterSeconds * 1_000,
  })
}
