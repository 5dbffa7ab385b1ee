/** The sample events: real audit records of many products in Annals' wire shape (test/fixtures/samples/README.md). */
import { readdirSync, readFileSync } from 'node:fs'
import type { JsonObject, JsonValue } from '../../src/events/contract.js'

export interface SampleParty extends JsonObject {
  type: string
}

export interface SampleEvent extends JsonObject {
  organizationId: string
  action: string
  occurredAt: string
  actor: SampleParty
  targets: SampleParty[]
  context: JsonObject
  metadata: JsonObject
}

const folder = new URL('../fixtures/samples/', import.meta.url)

/** Every sample, in the order of files and lines. */
export function allSamples(): SampleEvent[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.ndjson'))
    .sort()
    .flatMap((name) => readFileSync(new URL(name, folder), 'utf8').split('\n'))
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as SampleEvent)
}

/** `items` in runs of `size`. */
export function chunks<T>(items: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, index) =>
    items.slice(index * size, (index + 1) * size),
  )
}

/** What a reader with the grant should see of an event as sent: the documented normal form, and no more. */
export function expectedView(sent: SampleEvent): JsonValue {
  return {
    category: 'product',
    outcome: 'success',
    version: 1,
    ...sent,
    occurredAt: new Date(sent.occurredAt).toISOString(),
    context: sent.context,
    metadata: sent.metadata,
  }
}

/** A view without what Annals adds, to be compared with what was sent. */
export function withoutAdditions(view: JsonObject): JsonValue {
  const { id, receivedAt, leafHash, actor, targets, ...rest } = view
  return { ...rest, actor: bare(actor), targets: Array.isArray(targets) ? targets.map(bare) : [] }
}

function bare(party: JsonValue | undefined): JsonValue {
  if (typeof party !== 'object' || party === null || Array.isArray(party))
    throw new Error('a party is an object')
  const { subject, ...rest } = party
  return rest
}
