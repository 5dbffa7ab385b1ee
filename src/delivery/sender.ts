/**
 * Makes one call: POST, once, to an address that was resolved once.
 *
 * The name is resolved here, every address that it has is judged (address.ts), and the connection goes to the first of
 * them: nothing resolves the name a second time, so that a name that changes its mind between the look and the call
 * changes nothing. TLS is verified against the name. No redirect is followed, no proxy of the environment is asked, no
 * connection is kept; the answer counts by its status and its head, of its body a few kilobytes are read and none is kept.
 */
import { lookup } from 'node:dns/promises'
import {
  request as requestHttp,
  type ClientRequest,
  type IncomingMessage,
  type RequestOptions,
} from 'node:http'
import { request as requestHttps } from 'node:https'
import { isIP } from 'node:net'
import { classifyAddress, hostOf, mayCall, urlProblem, type AddressRules } from './address.js'
import type { DeliveryResult } from './contract.js'
import { parseRetryAfter } from './policy.js'

export interface WebhookCall {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** Never rejects: what a recipient does, or is, is a result. */
export type SendWebhook = (call: WebhookCall) => Promise<DeliveryResult>

export interface SenderOptions extends AddressRules {
  /** Every address of a name. Default: the system's resolver. */
  readonly resolve?: (host: string) => Promise<readonly string[]>
  /** Certificates (PEM) to trust instead of the system's. */
  readonly ca?: string
  readonly limits?: Partial<SenderLimits>
}

export interface SenderLimits {
  /** To resolve, connect and agree on TLS. */
  readonly connectMs: number
  /** From beginning to the head of the answer. */
  readonly totalMs: number
  /** For the body of the answer, of which nothing is wanted. */
  readonly bodyMs: number
  readonly maxBodyBytes: number
  readonly maxHeaderBytes: number
}

const defaultLimits: SenderLimits = {
  connectMs: 5_000,
  totalMs: 15_000,
  bodyMs: 2_000,
  maxBodyBytes: 16_384,
  maxHeaderBytes: 16_384,
}

/** A name with more addresses is not looked at to its end. */
const maxAddresses = 32
const maxLookups = 2

type Failure = Extract<DeliveryResult, { answered: false }>['failure']

class CallError extends Error {
  constructor(readonly failure: Failure) {
    super(failure)
  }
}

export function createSender(options: SenderOptions): SendWebhook {
  const limits = { ...defaultLimits, ...options.limits }
  const resolve = options.resolve ?? createSystemResolver()
  return async (call) => {
    try {
      const url = targetOf(call.url, options)
      const beganMs = performance.now()
      const address = await within(pinned(url, resolve, options), limits.connectMs)
      const spentMs = performance.now() - beganMs
      return await post(call, url, address, options.ca, {
        ...limits,
        connectMs: Math.max(limits.connectMs - spentMs, 1),
        totalMs: Math.max(limits.totalMs - spentMs, 1),
      })
    } catch (error) {
      return { answered: false, failure: error instanceof CallError ? error.failure : 'unreachable' }
    }
  }
}

/** Once more what was checked at submission: the setting may have changed since. */
function targetOf(text: string, rules: AddressRules): URL {
  if (urlProblem(text, rules) !== undefined) throw new CallError('address_not_allowed')
  return new URL(text)
}

/**
 * The system's resolver, for few at a time: each look holds one of the process's four threads for as long as a name server
 * is silent, and files and compression need them too.
 */
function createSystemResolver(): (host: string) => Promise<string[]> {
  let free = maxLookups
  const waiting: (() => void)[] = []
  return async (host) => {
    if (free === 0) await new Promise<void>((resolve) => waiting.push(resolve))
    else free -= 1
    try {
      return (await lookup(host, { all: true })).map(({ address }) => address)
    } finally {
      // Whoever waits takes over the place.
      const next = waiting.shift()
      if (next === undefined) free += 1
      else next()
    }
  }
}

/** The one address that is called. One that may not be called, among whatever others, refuses the name. */
async function pinned(
  url: URL,
  resolve: (host: string) => Promise<readonly string[]>,
  rules: AddressRules,
): Promise<string> {
  const host = hostOf(url)
  const addresses = isIP(host) === 0 ? await resolve(host).catch(unknownName) : [host]
  const [first] = addresses
  if (first === undefined) return unknownName()
  const allowed = (address: string) => mayCall(url, classifyAddress(address), rules)
  if (addresses.length > maxAddresses || !addresses.every(allowed)) throw new CallError('address_not_allowed')
  return first
}

function unknownName(): never {
  throw new CallError('name_unknown')
}

async function within<T>(work: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new CallError('no_answer_in_time')), ms)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}

function post(
  { headers, body }: WebhookCall,
  url: URL,
  address: string,
  ca: string | undefined,
  limits: SenderLimits,
): Promise<DeliveryResult> {
  const host = hostOf(url)
  const secure = url.protocol === 'https:'
  const options: RequestOptions = {
    method: 'POST',
    host: address,
    port: url.port === '' ? (secure ? 443 : 80) : url.port,
    path: url.pathname + url.search,
    headers: { ...headers, host: url.host, 'content-length': Buffer.byteLength(body) },
    // An agent of its own for each call: nothing is kept, and no proxy is in it.
    agent: false,
    maxHeaderSize: limits.maxHeaderBytes,
  }
  const request = secure
    ? requestHttps({
        ...options,
        // An address is no server name (RFC 6066); its certificate is then held to the address.
        servername: isIP(host) === 0 ? host : '',
        rejectUnauthorized: true,
        ...(ca === undefined ? {} : { ca }),
      })
    : requestHttp(options)
  return answerTo(request, secure, body, limits)
}

function answerTo(
  request: ClientRequest,
  secure: boolean,
  body: string,
  limits: SenderLimits,
): Promise<DeliveryResult> {
  return new Promise((resolve, reject) => {
    let phase: 'connecting' | 'agreeing' | 'waiting' = 'connecting'
    const stop = () => request.destroy(new CallError('no_answer_in_time'))
    const connecting = setTimeout(stop, limits.connectMs)
    const total = setTimeout(stop, limits.totalMs)
    const done = (): void => {
      clearTimeout(connecting)
      clearTimeout(total)
    }
    const ready = (): void => {
      phase = 'waiting'
      clearTimeout(connecting)
    }
    request.once('socket', (socket) => {
      socket.once('connect', () => {
        if (secure) phase = 'agreeing'
        else ready()
      })
      if (secure) socket.once('secureConnect', ready)
    })
    request.once('response', (response) => {
      done()
      discard(response, limits)
      const retryAfterMs = parseRetryAfter(response.headers['retry-after'], Date.now())
      resolve({ answered: true, status: response.statusCode ?? 0, retryAfterMs })
    })
    // Also after the answer, when the rest of it is cut off: somebody has to listen.
    request.on('error', (error) => {
      done()
      reject(error instanceof CallError ? error : new CallError(failureOf(error, phase)))
    })
    request.once('close', () => {
      done()
      reject(new CallError('unreachable'))
    })
    request.end(body)
  })
}

function failureOf(error: NodeJS.ErrnoException, phase: 'connecting' | 'agreeing' | 'waiting'): Failure {
  const { code = '' } = error
  if (code.startsWith('HPE_')) return 'answer_malformed'
  if (phase === 'agreeing' && code !== 'ECONNRESET') return 'tls_refused'
  return 'unreachable'
}

/** Reads a little of the body, so that a recipient that is polite can end it, and hangs up on one that goes on. */
function discard(response: IncomingMessage, { bodyMs, maxBodyBytes }: SenderLimits): void {
  let bytes = 0
  const hangUp = () => response.destroy()
  const timer = setTimeout(hangUp, bodyMs)
  response.on('data', (chunk: Buffer) => {
    bytes += chunk.length
    if (bytes > maxBodyBytes) hangUp()
  })
  response.once('close', () => clearTimeout(timer))
  response.on('error', () => undefined)
}
