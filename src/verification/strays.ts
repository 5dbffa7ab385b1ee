/**
 * Events that a server lists, and that are neither in its log nor on their way into it: rows that were slipped into its
 * database. A log says everything about its leaves and nothing about what never became one, so the list is walked.
 */
import type { Finding } from './contract.js'
import type { LogServer } from './server-source.js'

/** An event whose subject was just fenced goes again before anybody is told of it. */
const pauseMs = 1_000
const maxSuspects = 100

/** @throws AnnalsClientError */
export async function findStrays(server: LogServer): Promise<Finding[]> {
  let suspects: string[] = []
  let cursor: string | undefined
  do {
    const page = await server.eventIds(cursor)
    // A row that breaks the list is found at its leaf, where it has one; what else is there cannot be told.
    if (page === undefined) return [unreadable]
    suspects.push(...(await strangers(server, page.ids)))
    cursor = page.nextCursor
  } while (cursor !== undefined && suspects.length < maxSuspects)
  if (suspects.length === 0) return []
  await new Promise((resolve) => setTimeout(resolve, pauseMs))
  suspects = await strangers(server, suspects)
  const findings: Finding[] = []
  for (const eventId of suspects) {
    if (!(await server.hasEvent(eventId))) continue
    const detail = 'the event is listed, and was neither sealed nor accepted'
    findings.push({ code: 'stray_event', at: `event ${eventId}`, detail })
  }
  return findings
}

const unreadable: Finding = {
  code: 'events_unreadable',
  at: 'the list of events',
  detail: 'the server fails over it, so that events without a leaf cannot be looked for',
}

async function strangers(server: LogServer, ids: readonly string[]): Promise<string[]> {
  const accepted = await server.acceptedAmong(ids)
  return ids.filter((id) => !accepted.has(id))
}
