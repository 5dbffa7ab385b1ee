/**
 * Events that a server lists and that are in no log: rows that were slipped into its database. A log says everything
 * about its leaves and nothing about what never became one, so the list is asked, a page at a time.
 *
 * What arrived a moment ago is accepted and not sealed yet, so a stray is given time before it is called one.
 */
import type { Finding } from './contract.js'
import type { LogServer } from './server-source.js'

export interface StrayOptions {
  /** How long sealing may take before an event without a leaf is a stray. */
  readonly patienceMs?: number
}

const defaultPatienceMs = 15_000
const pauseMs = 500
/** More strays than this are not looked at twice. */
const maxSuspects = 500

/** @throws AnnalsClientError */
export async function findStrays(
  server: LogServer,
  { patienceMs = defaultPatienceMs }: StrayOptions = {},
): Promise<Finding[]> {
  let suspects: string[] = []
  let cursor: string | undefined
  do {
    const page = await server.eventIds(cursor)
    suspects.push(...(await unsealed(server, page.ids)))
    cursor = page.nextCursor
  } while (cursor !== undefined && suspects.length < maxSuspects)
  const giveUpAt = performance.now() + patienceMs
  suspects = suspects.slice(0, maxSuspects)
  while (suspects.length > 0 && performance.now() < giveUpAt) {
    await new Promise((resolve) => setTimeout(resolve, pauseMs))
    suspects = await unsealed(server, suspects)
  }
  return suspects.map((eventId) => ({
    code: 'stray_event',
    at: `event ${eventId}`,
    detail: 'the event is listed and has no leaf: it was never accepted, or is not sealed',
  }))
}

async function unsealed(server: LogServer, ids: readonly string[]): Promise<string[]> {
  const sealed = await server.sealedAmong(ids)
  return ids.filter((id) => !sealed.has(id))
}
