/**
 * The decode endpoint: Temporal UI and `temporal --codec-endpoint` send it encrypted payloads and get them back
 * readable (https://docs.temporal.io/codec-server). What a worker's codec throws on is answered by a tombstone
 * here, so that one lost key does not blank a whole page of history.
 */
import { timingSafeEqual } from 'node:crypto'
import type { Payload } from '@temporalio/common'
import express, { Router, type NextFunction, type Request, type Response } from 'express'
import { z } from 'zod'
import { AnnalsError } from '../errors.js'
import type { CodecKeys } from './codec-keys.js'
import { openPayload, PayloadCodecError } from './codec.js'

export interface CodecRoutesOptions {
  readonly codecKeys: CodecKeys
  readonly namespace: string
  /** Lets the request of an operator pass and ends every other with its problem. */
  readonly requireOperator: (request: Request, response: Response, next: NextFunction) => void
  /** With it, the endpoint also answers under `/temporal/codec/<secret>/decode`, for a UI that sends no key. */
  readonly pathSecret: string | undefined
  /** Origins of the UIs that may read answers in a browser, such as `http://127.0.0.1:8233`. */
  readonly uiOrigins: readonly string[]
}

const maxBodyBytes = '8mb'
const base64 = z.string().transform((text) => Buffer.from(text, 'base64'))
const bodySchema = z.object({
  payloads: z
    .array(z.object({ metadata: z.record(z.string().max(256), base64).optional(), data: base64.optional() }))
    .max(10_000),
})

/** Mounted at the root of the app; it parses its own bodies. */
export function codecRoutes(options: CodecRoutesOptions): Router {
  const router = Router()
  const json = express.json({ limit: maxBodyBytes })
  const decode = (request: Request, response: Response): void => {
    const body = bodySchema.safeParse(request.body)
    if (!body.success)
      throw new AnnalsError('invalid', 'expected {"payloads": [{"metadata", "data"}]} in base64')
    response.json({ payloads: body.data.payloads.map((payload) => decodeForReader(payload, options)) })
  }
  router.post('/temporal/codec/decode', cors(options.uiOrigins), options.requireOperator, json, decode)
  router.options('/temporal/codec/decode', cors(options.uiOrigins), answerPreflight)
  if (options.pathSecret !== undefined) {
    const secret = Buffer.from(options.pathSecret)
    const path = '/temporal/codec/:secret/decode'
    router.post(path, requireSecret(secret), cors(options.uiOrigins), json, decode)
    router.options(path, requireSecret(secret), cors(options.uiOrigins), answerPreflight)
  }
  return router
}

/** The opened payload in Temporal's JSON form, or a tombstone that says why there is none. */
function decodeForReader(
  payload: { metadata?: Record<string, Buffer> | undefined; data?: Buffer | undefined },
  options: CodecRoutesOptions,
): { metadata: Record<string, string>; data: string } {
  try {
    return toJson(
      openPayload(
        { metadata: payload.metadata ?? {}, data: payload.data ?? null },
        options.codecKeys,
        options.namespace,
      ),
    )
  } catch (error) {
    const reason = error instanceof PayloadCodecError ? error.code : 'cannot_open'
    return toJson({
      metadata: { encoding: Buffer.from('json/plain') },
      data: Buffer.from(JSON.stringify({ annals: 'undecodable', reason })),
    })
  }
}

function toJson(payload: Payload): { metadata: Record<string, string>; data: string } {
  const encode = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64')
  return {
    metadata: Object.fromEntries(
      Object.entries(payload.metadata ?? {}).map(([name, value]) => [name, encode(value)]),
    ),
    data: encode(payload.data ?? new Uint8Array()),
  }
}

type Handler = (request: Request, response: Response, next: NextFunction) => void

/** A wrong secret is an address that does not exist. */
function requireSecret(secret: Buffer): Handler {
  return (request, _response, next) => {
    const given = Buffer.from(String(request.params['secret'] ?? ''))
    const same = given.length === secret.length && timingSafeEqual(given, secret)
    next(same ? undefined : new AnnalsError('not_found', 'there is nothing here'))
  }
}

function cors(origins: readonly string[]): Handler {
  return (request, response, next) => {
    const origin = request.headers.origin
    response.vary('Origin')
    if (origin !== undefined && origins.includes(origin)) {
      response.set('Access-Control-Allow-Origin', origin)
      response.set('Access-Control-Allow-Methods', 'POST')
      response.set('Access-Control-Allow-Headers', 'Content-Type, X-Namespace, Authorization')
      response.set('Access-Control-Max-Age', '600')
    }
    next()
  }
}

function answerPreflight(_request: Request, response: Response): void {
  response.status(204).end()
}
