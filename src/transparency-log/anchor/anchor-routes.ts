/**
 * The anchor log over HTTP: C2SP tlog-tiles under `/v1/anchor` (the generation that grows) and `/v1/anchor/<generation>`.
 * Public: there is nothing in it about anybody, and whoever checks a receipt may have no key. Mounted before
 * authentication.
 */
import { Router, type Request, type Response } from 'express'
import { z } from 'zod'
import { notFound } from '../../errors.js'
import type { ApiPaths } from '../../http/openapi.js'
import { decimal, utf8 } from '../encoding.js'
import { encodeEntryBundle } from '../entry-bundle.js'
import { LogError } from '../errors.js'
import { hashLength } from '../hash.js'
import { formatVerifierKey } from '../note-key.js'
import { parseEntryBundlePath, parseTilePath, tileWidth } from '../tile.js'
import type { AnchorHeadDocument } from './anchor-store.js'
import type { Anchoring } from './anchoring.js'
import { cosignedCheckpoint } from './witnesses.js'

const yearSeconds = 31_536_000
const hourSeconds = 3_600

export function anchorRoutes({ store, keys }: Pick<Anchoring, 'store' | 'keys'>): Router {
  const router = Router({ caseSensitive: true })

  async function headOf(request: Request): Promise<AnchorHeadDocument> {
    const given = request.params['generation']
    const generation = given === undefined ? undefined : decimal(String(given))
    if (given !== undefined && generation === undefined) throw notFound()
    const head = await store.head(generation)
    if (head === undefined) throw notFound()
    return head
  }

  async function bytesAt(
    head: AnchorHeadDocument,
    path: string,
  ): Promise<{ width: number; bytes: Uint8Array }> {
    const bundled = path.startsWith('tile/entries/')
    const { index, width } = parsed(() => (bundled ? parseEntryBundlePath(path) : parseTilePath(path)))
    if (bundled) {
      const entries = (await store.entries(head.generation, index)).slice(0, width)
      if (entries.length < width) throw notFound()
      return { width, bytes: encodeEntryBundle(entries.map(utf8)) }
    }
    const tile = parsed(() => parseTilePath(path))
    const [bytes = new Uint8Array()] = await store.tileSource(head.generation).readTiles([tile])
    if (bytes.length < width * hashLength) throw notFound()
    return { width, bytes: bytes.subarray(0, width * hashLength) }
  }

  for (const prefix of ['/v1/anchor', '/v1/anchor/:generation']) {
    router.get(`${prefix}/checkpoint`, async (request, response) => {
      const note = cosignedCheckpoint(await headOf(request))
      // Cosignatures come in after an entry, so it is never kept.
      response.setHeader('cache-control', 'no-store')
      sendText(response, note)
    })

    router.get(`${prefix}/keys`, async (request, response) => {
      const { generation } = await headOf(request)
      const lines = (await keys.verifierKeys(generation)).map((key) => `${formatVerifierKey(key)}\n`)
      response.setHeader('cache-control', 'no-store')
      sendText(response, lines.join(''))
    })

    router.get(`${prefix}/tile/*place`, async (request: Request, response) => {
      const place: unknown = request.params['place']
      const path = `tile/${Array.isArray(place) ? place.join('/') : ''}`
      const { width, bytes } = await bytesAt(await headOf(request), path)
      response.setHeader('content-type', 'application/octet-stream')
      response.setHeader('cache-control', cacheControl(width, request.params['generation'] !== undefined))
      response.end(bytes)
    })
  }

  return router
}

/** Without a generation in it an address may mean another log one day (`annals log restart --anchor`). */
function cacheControl(width: number, named: boolean): string {
  if (width < tileWidth) return 'public, max-age=60'
  return `public, max-age=${String(named ? yearSeconds : hourSeconds)}, immutable`
}

/** @throws AnnalsError `not_found` for a path that has not the one spelling of C2SP */
function parsed<Address>(parse: () => Address): Address {
  try {
    return parse()
  } catch (error) {
    if (error instanceof LogError) throw notFound()
    throw error
  }
}

function sendText(response: Response, body: string): void {
  response.setHeader('content-type', 'text/plain; charset=utf-8')
  response.end(body)
}

const place = z.string().meta({
  description: '`<level>/<index>[.p/<width>]` or `entries/<index>[.p/<width>]`, as in C2SP tlog-tiles.',
})
const generation = z.string().regex(/^[1-9]\d*$/)
const text = { 'text/plain': { schema: z.string() } }
const bytes = { 'application/octet-stream': { schema: z.string().meta({ format: 'binary' }) } }

function paths(prefix: string, path: z.ZodObject, which: string): ApiPaths {
  const get = (
    summary: string,
    parameters: z.ZodObject,
    description: string,
    content: typeof text | typeof bytes,
  ) => ({
    get: {
      tags: ['anchor'],
      summary: `${summary} of the anchor log${which}`,
      security: [],
      requestParams: { path: parameters },
      responses: { '200': { description, content } },
    },
  })
  return {
    [`${prefix}/checkpoint`]: get(
      'The newest checkpoint',
      path,
      "A signed note, with the witnesses' cosignatures.",
      text,
    ),
    [`${prefix}/keys`]: get('The verifier keys', path, 'One a line, newest first.', text),
    [`${prefix}/tile/{place}`]: get(
      'A tile or an entry bundle',
      path.extend({ place }),
      'Hashes, or entries.',
      bytes,
    ),
  }
}

export const anchorPaths: ApiPaths = {
  ...paths('/v1/anchor', z.object({}), ''),
  ...paths('/v1/anchor/{generation}', z.object({ generation }), ', one generation'),
}
