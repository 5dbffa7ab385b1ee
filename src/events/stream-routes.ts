/** `POST /v1/events/stream`: what is HTTP about a stream; how it is read and answered stands in stream.ts. */
import type { Readable } from 'node:stream'
import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib'
import { Router, type Request } from 'express'
import type { RateLimits } from '../access/rate-limits.js'
import { AnnalsError, invalidField } from '../errors.js'
import { authorize } from '../http/authentication.js'
import { idempotencyKeyOf } from '../http/list.js'
import { annalsErrorOf, problemDocument } from '../http/problem.js'
import { requestIdOf } from '../http/request-context.js'
import { letStream } from '../http/streaming.js'
import { parseInput } from '../http/validate.js'
import type { Logger } from '../logging.js'
import { accepted, createAccept } from './accept.js'
import type { Intake } from './intake.js'
import type { EventOrganizations } from './organizations.js'
import { eventItemSchema, parseEvent } from './schema.js'
import type { StreamProblem } from './stream-answers.js'
import { streamQuerySchema } from './stream-query.js'
import { EventStream, streamLimits, type StreamLimits } from './stream.js'

export interface EventStreamDependencies {
  readonly organizations: EventOrganizations
  readonly intake: Intake
  readonly rateLimits: RateLimits
  readonly logger: Logger
  /** Calls back when the process is about to stop. */
  readonly onDraining: (callback: () => void) => void
  readonly limits?: StreamLimits
}

/** Streams under way at once in one process; each may hold some megabytes. */
export const maxStreams = 64

export const ndjsonType = 'application/x-ndjson'
const inputType = /^application\/(x-ndjson|ndjson|jsonl|x-jsonlines)(\s*;\s*charset="?utf-8"?)?\s*$/i

export function eventStreamRoutes(dependencies: EventStreamDependencies): Router {
  const { organizations, intake, rateLimits, logger, limits = streamLimits } = dependencies
  const router = Router({ caseSensitive: true })
  const accept = createAccept({ organizations, intake })
  const running = new Set<EventStream>()
  let draining = false
  dependencies.onDraining(() => {
    draining = true
    for (const stream of running) stream.drain()
  })

  router.post('/v1/events/stream', async (request, response) => {
    const caller = authorize(response, 'events.write')
    const { answer, progress } = parseInput(streamQuerySchema, { ...request.query })
    if (idempotencyKeyOf(request.headers) !== undefined) {
      throw invalidField('', 'conflict', 'a stream takes an idempotencyKey in each event, not the header')
    }
    if (!inputType.test(request.headers['content-type'] ?? '')) {
      throw new AnnalsError('unsupported_media_type', `The Content-Type must be ${ndjsonType} in UTF-8.`)
    }
    if (draining || running.size >= maxStreams || !intake.hasRoom(caller.keyId, 1, 0)) throw busy()
    const input = decoded(request)
    const requestId = requestIdOf(response)
    let logged = false
    const problemOf = (failure: unknown): StreamProblem => {
      const error = annalsErrorOf(failure)
      if (error.code === 'internal' && !logged) {
        logged = true
        logger.error('stream.line_failed', { requestId, error: error.cause ?? error })
      }
      const document = problemDocument(error, requestId)
      const passes = document.status === 429 || document.status === 503
      return { document, retryAfterSeconds: error.retryAfterSeconds ?? (passes ? 1 : undefined) }
    }

    letStream(request)
    response.statusCode = 200
    response.setHeader('content-type', `${ndjsonType}; charset=utf-8`)
    response.setHeader('cache-control', 'no-store')
    // Proxies that collect an answer before they pass it on would keep a client waiting for its first line.
    response.setHeader('x-accel-buffering', 'no')
    response.flushHeaders()
    const stream = new EventStream({
      source: request,
      input,
      output: response,
      answerAll: answer === 'all',
      progress: progress === 'true',
      accept: async (value) => {
        const parsed = accepted(parseEvent(value, eventItemSchema, Date.now()))
        await rateLimits.take(caller, 1)
        return accept(caller, parsed, parsed.idempotencyKey)
      },
      hasRoom: (bytes) => intake.hasRoom(caller.keyId, 1, bytes),
      problemOf,
      limits,
    })
    running.add(stream)
    try {
      const { counts, stop } = await stream.run()
      logger.debug('stream.done', {
        requestId,
        count: counts.accepted,
        code: stop === undefined ? undefined : stop === 'aborted' ? stop : stop.code,
      })
    } finally {
      running.delete(stream)
    }
  })
  return router
}

/** The body without its Content-Encoding. @throws AnnalsError `unsupported_media_type` */
function decoded(request: Request): Readable {
  const encoding = (request.headers['content-encoding'] ?? 'identity').toLowerCase()
  if (encoding === 'identity') return request
  const decoder = decoderOf(encoding)
  if (decoder === undefined) {
    throw new AnnalsError(
      'unsupported_media_type',
      'The Content-Encoding must be gzip, deflate, br or identity.',
    )
  }
  return request.pipe(decoder)
}

function decoderOf(encoding: string) {
  switch (encoding) {
    case 'gzip':
    case 'x-gzip':
      return createGunzip()
    case 'deflate':
      return createInflate()
    case 'br':
      return createBrotliDecompress()
  }
  return undefined
}

const busy = () =>
  new AnnalsError('overloaded', 'No further stream can be taken at the moment; try again a little later.', {
    retryAfterSeconds: 1,
  })
