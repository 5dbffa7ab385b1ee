/** Reads a JSON body: bounded, decompressed within the same bound, valid UTF-8, valid JSON. */
import { isUtf8 } from 'node:buffer'
import type { IncomingMessage, ServerResponse } from 'node:http'
import express, { type NextFunction, type Request, type RequestHandler, type Response } from 'express'
import { AnnalsError } from '../errors.js'

const jsonType = /^application\/(?:[a-z0-9.-]+\+)?json *(?:; *charset="?utf-8"? *)?$/i

/** Bodies up to this length are searched for the place of a syntax error. */
const maxSearchedCharacters = 64 * 1024
const maxDiscardedBytes = 64 * 1024 * 1024

export interface JsonBodyOptions {
  /** An absent body is taken, and read as `undefined`. */
  readonly optional?: boolean
}

/** Middleware that puts the parsed body at `request.body`; refuses as `jsonReader` does. */
export function jsonBody(maxBytes: number, options: JsonBodyOptions = {}): RequestHandler {
  const read = jsonReader(maxBytes, options)
  return (request: Request, response: Response, next: NextFunction) => {
    read(request, response, (error, body) => {
      request.body = body
      next(error)
    })
  }
}

/** Calls back with what was refused, or with the parsed body. */
export type JsonReader = (
  request: IncomingMessage,
  response: ServerResponse,
  done: (error: unknown, body?: unknown) => void,
) => void

/** What Express's readers are: they ask nothing of a request that Node's own has not. */
type NodeMiddleware = (
  request: IncomingMessage,
  response: ServerResponse,
  next: (error?: unknown) => void,
) => void

/**
 * Reads a JSON body.
 * Refuses with `malformed` (400, with the position of the error), `too_large` (413, naming the limit) and
 * `unsupported_media_type` (415).
 * @param maxBytes the limit, counted after decompression
 */
export function jsonReader(maxBytes: number, { optional = false }: JsonBodyOptions = {}): JsonReader {
  const read: NodeMiddleware = express.raw({ limit: maxBytes, type: () => true, inflate: true })
  return (request, response, done) => {
    if (!hasBody(request)) {
      if (optional) done(undefined)
      else done(new AnnalsError('malformed', 'The request has no body; a JSON body is needed.'))
      return
    }
    if (!jsonType.test(request.headers['content-type'] ?? '')) {
      done(new AnnalsError('unsupported_media_type', 'The Content-Type must be application/json in UTF-8.'))
      return
    }
    // Said before a byte of it is read. What the client goes on sending is discarded, up to a size where closing
    // the connection under it is the better answer.
    const announced = Number(request.headers['content-length'] ?? 0)
    if (announced > maxBytes) {
      if (announced > maxDiscardedBytes) response.setHeader('connection', 'close')
      done(tooLarge(maxBytes))
      return
    }
    const parse = (error: unknown, bytes: unknown) => {
      if (error !== undefined) {
        done(readFailure(error, maxBytes))
        return
      }
      let body: unknown
      try {
        body = parseJsonBytes(bytes)
      } catch (problem) {
        done(problem)
        return
      }
      done(undefined, body)
    }
    if (isPlain(request)) readPlain(request, parse)
    else read(request, response, (error?: unknown) => parse(error, bodyIn(request)))
  }
}

/** Where Express's reader has put it. */
const bodyIn = (request: IncomingMessage): unknown => ('body' in request ? request.body : undefined)

/** A body as it stands, of an announced length: Node's parser sees to it that it is exactly as long. */
const isPlain = ({ headers }: IncomingMessage): boolean =>
  headers['content-length'] !== undefined && headers['content-encoding'] === undefined

/** What Express's reader does for such a body, without the part of it that handles every other: a tenth of a post. */
function readPlain(request: IncomingMessage, done: (error: unknown, bytes: unknown) => void): void {
  const chunks: Buffer[] = []
  const settle = (error: unknown) => {
    request.off('data', onData).off('end', onEnd).off('error', settle).off('close', onClose)
    const [first] = chunks
    done(error, chunks.length === 1 ? first : Buffer.concat(chunks))
  }
  const onData = (chunk: Buffer) => chunks.push(chunk)
  const onEnd = () => settle(undefined)
  const onClose = () => settle(new Error('the connection closed before the body was whole'))
  request.on('data', onData).on('end', onEnd).on('error', settle).on('close', onClose)
}

/** What `jsonBody` read. */
export const bodyOf = (request: Request): unknown => request.body

const hasBody = ({ headers }: IncomingMessage): boolean =>
  headers['transfer-encoding'] !== undefined ||
  (headers['content-length'] !== undefined && headers['content-length'] !== '0')

const tooLarge = (maxBytes: number) =>
  new AnnalsError('too_large', `The body is over the limit of ${maxBytes} bytes.`)

/** Turns a failure of the body reader into ours; its message may quote headers, so only its type is used. */
function readFailure(error: unknown, maxBytes: number): AnnalsError {
  const type = error instanceof Error && 'type' in error ? error.type : undefined
  if (type === 'entity.too.large') {
    return tooLarge(maxBytes)
  }
  if (type === 'encoding.unsupported') {
    return new AnnalsError(
      'unsupported_media_type',
      'The Content-Encoding must be gzip, deflate, br or identity.',
    )
  }
  // Cut off, of another length than announced, or not what its Content-Encoding says.
  return new AnnalsError('malformed', 'The body could not be read to its end.', { cause: error })
}

/**
 * Parses the bytes of a JSON text.
 * @throws AnnalsError `malformed`, with the position of the error and without quoting the text
 */
export function parseJsonBytes(bytes: unknown): unknown {
  if (!Buffer.isBuffer(bytes) || bytes.length === 0) throw new AnnalsError('malformed', 'The body is empty.')
  if (!isUtf8(bytes)) throw new AnnalsError('malformed', 'The body is not valid UTF-8.')
  const text = bytes.toString('utf8')
  try {
    return JSON.parse(text)
  } catch (error) {
    const position = syntaxErrorPosition(text, error)
    const where = position === undefined ? '' : ` The error is at character ${position}.`
    throw new AnnalsError('malformed', `The body is not valid JSON.${where}`)
  }
}

/**
 * Where the JSON goes wrong, counted from 0 in UTF-16 units. V8 tells the position in some of its messages and
 * quotes the text in the others; for those, the longest beginning that could still go on is searched for.
 */
function syntaxErrorPosition(text: string, error: unknown): number | undefined {
  const told = toldPosition(error)
  if (told !== undefined) return told
  if (text.length > maxSearchedCharacters) return undefined
  let good = 0
  let bad = text.length + 1
  while (bad - good > 1) {
    const middle = (good + bad) >> 1
    if (couldGoOn(text.slice(0, middle))) good = middle
    else bad = middle
  }
  return good
}

function toldPosition(error: unknown): number | undefined {
  const found = error instanceof SyntaxError ? / at position (\d+)/.exec(error.message)?.[1] : undefined
  return found === undefined ? undefined : Number(found)
}

/** Is the text the beginning of some JSON text? */
function couldGoOn(beginning: string): boolean {
  try {
    JSON.parse(beginning)
    return true
  } catch (error) {
    if (!(error instanceof SyntaxError)) return false
    if (error.message.startsWith('Unexpected end') || error.message.startsWith('Unterminated')) return true
    return (toldPosition(error) ?? -1) >= beginning.length
  }
}
