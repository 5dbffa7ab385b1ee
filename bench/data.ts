/** What the benchmarks send and store: the sample events, and the stored form that intake makes of them. */
import { readdirSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Core } from '../src/composition.js'
import { eventSchema, parseEvent } from '../src/events/schema.js'
import type { StoredEvent } from '../src/events/store.js'

export const benchCollections = { templates: 'benchTemplates', naive: 'benchNaive', raw: 'benchRaw' } as const

/** The sample events as parsed JSON, mapped to a few organizations as they come. */
export function sampleEvents(): Record<string, unknown>[] {
  // Compiled code runs from dist/bench, the samples lie in the sources.
  const folder = resolve('test/fixtures/samples')
  return readdirSync(folder)
    .filter((name) => name.endsWith('.ndjson'))
    .sort()
    .flatMap((name) => readFileSync(resolve(folder, name), 'utf8').split('\n'))
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
}

/** Takes the samples in once, so that every person is known, and returns their stored form. */
export async function storedTemplates(core: Core): Promise<StoredEvent[]> {
  for (const sample of sampleEvents()) {
    const result = parseEvent(sample, eventSchema, Date.now())
    if (!result.ok) throw new Error('a sample was refused')
    const { event } = result.parsed
    const organization = await core.eventOrganizations.ensure(event.organizationId, 'system')
    await core.intake.submit({ event }, organization)
  }
  return core.events.find({ category: { $ne: 'system' } }, { useBigInt64: true }).toArray()
}
