/** A log of a running server, read over HTTP with an access key. */
import { AnnalsClientError } from '../client/index.js'
import { createTransport, failureOf, type Send } from '../client/transport.js'
import { entryBundlePath, tilePath, tileWidth, type BundleAddress } from '../transparency-log/tile.js'
import type { EventLine, LogSource } from './log-source.js'

export interface ServerOptions {
  readonly url: string
  readonly key: string
  readonly organization: string
  /** Read persons' blocks as withheld, whatever the key may see: nobody is read, and no read is noted. */
  readonly masked?: boolean
  readonly fetch?: typeof fetch
}

export interface LogServer {
  /** @throws AnnalsClientError */
  checkpoint(generation?: number): Promise<string>
  /** Verifier keys, newest first. @throws AnnalsClientError */
  keys(generation?: number): Promise<string[]>
  /**
   * The proof that the anchor log has a tree of this log, as JSON; undefined where it has none yet, or where the server
   * says that its anchor log is damaged.
   * @throws AnnalsClientError
   */
  anchor(generation?: number): Promise<{ readonly anchor: unknown; readonly damaged: boolean }>
  /** Verifier keys of the anchor log; none before its first entry. @throws AnnalsClientError */
  anchorKeys(): Promise<string[]>
  /** @param values read events too */
  source(generation: number, values: boolean): LogSource
  /** Is the event (still) in the hot store? */
  hasEvent(id: string): Promise<boolean>
  /** A page of the ids of events in the hot store; undefined where the server fails over it. */
  eventIds(cursor: string | undefined): Promise<IdPage | undefined>
  /** Those of these events (at most 500) that are in the log, or were accepted and are on their way into it. */
  acceptedAmong(ids: readonly string[]): Promise<ReadonlySet<string>>
}

export interface IdPage {
  readonly ids: readonly string[]
  readonly nextCursor: string | undefined
}

const timeoutMs = 60_000
const maxTries = 6
const firstPauseMs = 250
const maxPauseMs = 10_000
const idsAtOnce = 500

export function createLogServer({ url, key, organization, masked, fetch }: ServerOptions): LogServer {
  const send = withRetries(createTransport({ url, key, ...(fetch === undefined ? {} : { fetch }) }))
  const prefix = `/v1/organizations/${organization}`
  const logPath = (generation: number | undefined) =>
    generation === undefined ? `${prefix}/log` : `${prefix}/log/${String(generation)}`

  async function text(path: string): Promise<string> {
    return read(await send({ method: 'GET', path, headers: { accept: 'text/plain' }, timeoutMs }), (r) =>
      r.text(),
    )
  }
  async function json(path: string, body?: object): Promise<Record<string, unknown>> {
    const request =
      body === undefined
        ? { method: 'GET', path, headers: { accept: 'application/json' }, timeoutMs }
        : {
            method: 'POST',
            path,
            headers: { accept: 'application/json', 'content-type': 'application/json' },
            body: JSON.stringify(body),
            timeoutMs,
          }
    return (await read(await send(request), (response) => response.json())) as Record<string, unknown>
  }
  async function bytes(path: string): Promise<Uint8Array | undefined> {
    const headers = { accept: 'application/octet-stream' }
    return unlessDamaged(async () =>
      read(
        await send({ method: 'GET', path, headers, timeoutMs }),
        async (response) => new Uint8Array(await response.arrayBuffer()),
      ),
    )
  }

  return {
    checkpoint: (generation) => text(`${logPath(generation)}/checkpoint`),
    async keys(generation) {
      return (await text(`${logPath(generation)}/keys`)).split('\n').filter((line) => line !== '')
    },
    async anchor(generation) {
      const { anchorState, anchor } = (await ifThere(() => json(`${logPath(generation)}/anchor`))) ?? {}
      return { anchor: anchor ?? undefined, damaged: anchorState === 'damaged' }
    },
    async anchorKeys() {
      const keys = await ifThere(() => text('/v1/anchor/keys'))
      return keys?.split('\n').filter((line) => line !== '') ?? []
    },
    source(generation, values) {
      const base = logPath(generation)
      const events = ({ index, width }: BundleAddress) =>
        unlessDamaged(async () => {
          const first = index * tileWidth
          const query = new URLSearchParams({
            view: 'verifiable',
            limit: String(width),
            ...(masked === true || !values ? { personal: 'false' } : {}),
            ...(first === 0
              ? { generation: String(generation) }
              : { after: `${String(generation)}.${String(first - 1)}` }),
          })
          const { data } = await json(`${prefix}/feed?${query.toString()}`)
          return Array.isArray(data) ? (data as EventLine[]) : undefined
        })
      return {
        tile: (tile) => bytes(`${base}/${tilePath(tile)}`),
        bundle: (bundle) => bytes(`${base}/${entryBundlePath(bundle)}`),
        manifest: (sha256) => bytes(`${prefix}/log/manifests/${sha256}`),
        ...(values ? { events } : { evidence: events }),
      }
    },
    async hasEvent(id) {
      return (await ifThere(() => json(`${prefix}/events/${id}?personal=false`))) !== undefined
    },
    async eventIds(cursor) {
      const query = new URLSearchParams({ limit: String(idsAtOnce), personal: 'false' })
      if (cursor !== undefined) query.set('cursor', cursor)
      const page = await unlessDamaged(() => json(`${prefix}/events?${query.toString()}`))
      if (page === undefined) return undefined
      const { data, nextCursor } = page
      const ids = Array.isArray(data) ? data.map(({ id }: { id: unknown }) => String(id)) : []
      return { ids, nextCursor: typeof nextCursor === 'string' ? nextCursor : undefined }
    },
    async acceptedAmong(ids) {
      if (ids.length === 0) return new Set()
      const { data } = await json(`${prefix}/log/leaves`, { ids })
      return new Set(Array.isArray(data) ? data.map(({ id }: { id: unknown }) => String(id)) : [])
    },
  }
}

async function read<Value>(response: Response, how: (response: Response) => Promise<Value>): Promise<Value> {
  try {
    return await how(response)
  } catch (error) {
    throw failureOf(error)
  }
}

const hadNot: ReadonlySet<string> = new Set(['not_found', 'internal', 'log_damaged', 'archive_damaged'])

/** What is not there, and what the server fails over: for a verifier both are an object that cannot be had. */
async function unlessDamaged<Value>(work: () => Promise<Value>): Promise<Value | undefined> {
  try {
    return await work()
  } catch (error) {
    const { code } = error instanceof AnnalsClientError ? error : { code: undefined }
    if (code !== undefined && hadNot.has(code)) return undefined
    throw error
  }
}

/** @returns undefined for what is not there, as in a server without an anchor log */
async function ifThere<Value>(work: () => Promise<Value>): Promise<Value | undefined> {
  try {
    return await work()
  } catch (error) {
    const isGone =
      error instanceof AnnalsClientError && (error.code === 'not_found' || error.code === 'expired')
    if (isGone) return undefined
    throw error
  }
}

/** Tries again what may succeed a little later; a server under load is not a server that lies. */
function withRetries(send: Send): Send {
  return async (request) => {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await send(request)
      } catch (error) {
        const again = error instanceof AnnalsClientError && error.temporary && attempt < maxTries
        // A server that was never there is said to be unreachable at once.
        if (!again || (error.code === 'unreachable' && attempt > 2)) throw error
        const pauseMs = error.retryAfterMs ?? firstPauseMs * 2 ** attempt
        await new Promise((resolve) => setTimeout(resolve, Math.min(pauseMs, maxPauseMs)))
      }
    }
  }
}
