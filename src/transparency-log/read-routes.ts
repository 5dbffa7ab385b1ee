/**
 * The HTTP routes of a log: C2SP tlog-tiles under `…/log` (the generation that grows) and `…/log/<generation>` (one
 * by its number), proofs of events, and the feed.
 */
import { Router, type Request, type Response } from 'express'
import type { Caller } from '../access/contract.js'
import { notFound } from '../errors.js'
import type { EventFinder } from '../events/finding.js'
import type { EventOrganizations } from '../events/organizations.js'
import { eventDocumentId, type EventCollection } from '../events/store.js'
import type { Reader } from '../events/personal-reads.js'
import type { VerifiableEvent } from '../events/verifiable.js'
import type { VerifiablePresenter } from '../events/verifiable-reading.js'
import { authorize } from '../http/authentication.js'
import { bodyOf, jsonBody } from '../http/json-body.js'
import { requestIdOf } from '../http/request-context.js'
import { parseInput } from '../http/validate.js'
import { anchorProofToJson } from './anchor/anchor-proof.js'
import { anchoredRecordToJson, anchorExtra } from './anchor/anchored-record.js'
import { base64, decimal } from './encoding.js'
import { LogError } from './errors.js'
import type { Feed } from './feed.js'
import { notSealed, type LogName, type LogReader } from './log-reader.js'
import { leavesBodySchema, parseConsistency, parseFeedQuery, parseProofQuery } from './read-schema.js'
import type { Receipt, Receipts } from './receipts.js'
import { parseEntryBundlePath, parseTilePath, tileWidth } from './tile.js'
import { formatTlogProof } from './tlog-proof.js'
import type { Whereabouts } from './whereabouts.js'

export interface LogReadRoutesDependencies {
  readonly organizations: Pick<EventOrganizations, 'require'>
  readonly events: EventCollection
  readonly finder: EventFinder
  readonly log: LogReader
  readonly receipts: Receipts
  readonly whereabouts: Whereabouts
  readonly feed: Feed
  readonly verifiable: VerifiablePresenter
  /** A manifest of an erasure by its SHA-256, of this organization. */
  readonly manifest: (organizationId: string, sha256: string) => Promise<Uint8Array | undefined>
  /** What accounts for values that an event has not any more, each with a proof of its own. */
  readonly accounts: (organizationId: string, event: VerifiableEvent) => Promise<readonly object[]>
  /** Calls back when the process is about to stop: whoever waits is answered at once. */
  readonly onDraining: (callback: () => void) => void
}

const text = 'text/plain; charset=utf-8'
const maxLeavesBytes = 64 * 1024

export function logReadRoutes(dependencies: LogReadRoutesDependencies): Router {
  const { organizations, events, finder, log, receipts, whereabouts, feed, verifiable } = dependencies
  const router = Router({ caseSensitive: true })
  const draining = new AbortController()
  dependencies.onDraining(() => draining.abort())

  /** The organization that is read, by whom. The same 404 for one that is not there and one that is not the key's. */
  async function opened(request: Request, response: Response, personal = false) {
    const organizationId = String(request.params['org'])
    const caller = authorize(response, 'events.read', organizationId)
    const organization = await organizations.require(organizationId)
    return { organizationId, organization, reads: readerOf(caller, personal, response) }
  }

  async function logOf(request: Request, response: Response): Promise<LogName> {
    const { organizationId } = await opened(request, response)
    return { organizationId, generation: generationOf(request) }
  }

  router.get('/v1/organizations/:org/log/manifests/:sha256', async (request, response) => {
    const { organizationId } = await opened(request, response)
    const { sha256 } = request.params
    const bytes = /^[0-9a-f]{64}$/.test(sha256)
      ? await dependencies.manifest(organizationId, sha256)
      : undefined
    if (bytes === undefined) throw notFound()
    response.setHeader('content-type', 'application/octet-stream')
    response.setHeader('cache-control', `private, max-age=${String(yearSeconds)}, immutable`)
    response.end(bytes)
  })

  for (const prefix of ['/v1/organizations/:org/log', '/v1/organizations/:org/log/:generation']) {
    router.get(`${prefix}/checkpoint`, async (request, response) => {
      const checkpoint = await log.checkpoint(await logOf(request, response))
      response.setHeader('cache-control', 'no-store')
      sendText(response, checkpoint)
    })

    router.get(`${prefix}/tile/*place`, async (request, response) => {
      const name = await logOf(request, response)
      const path = `tile/${splatOf(request)}`
      const { width, bytes, seconds } = path.startsWith('tile/entries/')
        ? await bundleAt(name, path)
        : await tileAt(name, path)
      response.setHeader('content-type', 'application/octet-stream')
      response.setHeader('cache-control', cacheControl(width, name.generation, seconds))
      response.end(bytes)
    })

    router.get(`${prefix}/keys`, async (request, response) => {
      const keys = await log.keys(await logOf(request, response))
      response.setHeader('cache-control', 'no-store')
      sendText(response, keys.map((key) => `${key}\n`).join(''))
    })

    router.get(`${prefix}/consistency`, async (request, response) => {
      const name = await logOf(request, response)
      const { from, to } = parseConsistency(request.query)
      const proof = await log.consistency(name, from, to)
      response.json({ from, to, proof: proof.map(base64) })
    })

    router.get(`${prefix}/anchor`, async (request, response) => {
      const { anchorState, anchor } = await receipts.logAnchor(await logOf(request, response))
      response.setHeader('cache-control', 'no-store')
      response.json({ anchorState, anchor: anchor === undefined ? null : anchorProofToJson(anchor) })
    })
  }

  async function tileAt(name: LogName, path: string) {
    const tile = parsed(() => parseTilePath(path))
    return { width: tile.width, bytes: await log.tile(name, tile), seconds: yearSeconds }
  }

  async function bundleAt(name: LogName, path: string) {
    const bundle = parsed(() => parseEntryBundlePath(path))
    // A record may go one day; a hash never does.
    return { width: bundle.width, bytes: await log.bundle(name, bundle), seconds: daySeconds }
  }

  router.get('/v1/organizations/:org/events/:id/proof', async (request, response) => {
    const { verifiable: withFields, personal } = parseProofQuery(request.query)
    const { organizationId, organization, reads } = await opened(request, response, personal)
    const eventId = request.params.id
    const receipt = await receipts.receipt(organizationId, eventId)
    if (receipt === undefined) {
      const _id = eventDocumentId(organizationId, eventId)
      throw (await events.findOne({ _id }, { projection: { _id: 1 } })) === null ? notFound() : notSealed()
    }
    response.setHeader('cache-control', 'no-store')
    response.vary('Accept')
    if (request.accepts(['text/plain', 'application/json']) !== 'application/json') {
      sendText(response, receiptText(receipt))
      return
    }
    const answer = { organizationId, id: eventId, ...receiptJson(receipt) }
    if (!withFields) {
      response.json(answer)
      return
    }
    const stored = await finder.find(organizationId, [eventId])
    const forms = await verifiable.present(organization, [...stored.values()], reads, {
      by: 'proof',
      event: eventId,
    })
    const event = forms.get(eventId) ?? null
    const accounts = event === null ? [] : await dependencies.accounts(organizationId, event)
    response.json({ ...answer, event, ...(accounts.length === 0 ? {} : { accounts }) })
  })

  router.post('/v1/organizations/:org/log/leaves', jsonBody(maxLeavesBytes), async (request, response) => {
    const { organization } = await opened(request, response)
    const { ids } = parseInput(leavesBodySchema, bodyOf(request))
    const found = await whereabouts.find(organization, ids)
    const data = [...found].map(([id, leaf]) =>
      leaf === 'pending'
        ? { id, pending: true }
        : { id, generation: leaf.generation, index: leaf.index, leafHash: base64(leaf.leafHash) },
    )
    response.json({ data })
  })

  router.get('/v1/organizations/:org/feed', async (request, response) => {
    const { waitMs, personal, ...wanted } = parseFeedQuery(request.query)
    const { organization, reads } = await opened(request, response, personal)
    const gone = new AbortController()
    response.once('close', () => gone.abort())
    const signal = AbortSignal.any([gone.signal, draining.signal])
    const page = await feed.read(organization, wanted, reads, { waitMs, signal })
    if (gone.signal.aborted) return
    const { generation, index } = page.next ?? {}
    const next = generation === undefined ? null : `${String(generation)}.${String(index)}`
    response.setHeader('cache-control', 'no-store')
    response.json({ data: page.data, next })
  })

  return router
}

const yearSeconds = 31_536_000
const daySeconds = 86_400
const hourSeconds = 3_600

/**
 * What a full tile holds never changes. Without a generation in it an address may mean another log one day (after
 * `annals log restart`), so it is kept for an hour.
 */
function cacheControl(width: number, generation: number | undefined, seconds: number): string {
  if (width < tileWidth) return 'private, max-age=60'
  return `private, max-age=${String(generation === undefined ? hourSeconds : seconds)}, immutable`
}

/** @throws AnnalsError `not_found` for what is no generation */
function generationOf(request: Request): number | undefined {
  const given = request.params['generation']
  if (given === undefined) return undefined
  const generation = decimal(String(given))
  if (generation === undefined || generation === 0) throw notFound()
  return generation
}

function splatOf(request: Request): string {
  const place: unknown = request.params['place']
  return Array.isArray(place) ? place.join('/') : ''
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
  response.setHeader('content-type', text)
  response.end(body)
}

/** What is not anchored yet has no extra line. */
const receiptText = ({ proof, anchored }: Receipt): string =>
  formatTlogProof(anchored === undefined ? proof : { ...proof, extra: anchorExtra(anchored) })

const receiptJson = ({ proof, anchorState, anchored }: Receipt) => ({
  generation: proof.generation,
  index: proof.index,
  size: proof.size,
  leafHash: base64(proof.leafHash),
  sealedAt: proof.sealedAt.toISOString(),
  record: proof.record ?? null,
  proof: proof.hashes.map(base64),
  checkpoint: proof.checkpoint,
  anchorState,
  anchor: anchored === undefined ? null : anchoredRecordToJson(anchored),
})

const readerOf = (caller: Caller, wanted: boolean, response: Response): Reader => ({
  principal: caller.principal,
  personal: caller.personal && wanted,
  requestId: requestIdOf(response),
})
