/** The sample events in one organization, and the plain model of them: what any search has to find. */
import fc from 'fast-check'
import type { JsonValue } from '../../src/events/contract.js'
import { createDetector } from '../../src/events/detectors/detector.js'
import { eventDocumentId } from '../../src/events/store.js'
import { allSamples, chunks } from './samples.js'
import { SearchModel, valueFrom, type FilterName, type ModelEvent, type ModelFilter } from './search-model.js'
import type { World } from './world.js'

export interface ModelledSamples {
  readonly model: SearchModel
  /** After the samples, before what is noted of reads. */
  readonly endOfSamples: string
}

/** Posts every sample. */
export async function postSamples(world: World, organizationId: string): Promise<ModelledSamples> {
  const samples = allSamples().map((sample) => ({ ...sample, organizationId }))
  const ids: string[] = []
  for (const events of chunks(samples, 500)) {
    const answer = await world.request('POST', '/v1/events/batch', { body: { events } })
    ids.push(...(answer.body as { results: { id: string }[] }).results.map(({ id }) => id))
  }
  const events: ModelEvent[] = []
  for (const [index, sent] of samples.entries()) {
    const id = ids[index] ?? ''
    const stored = await world.api.core.events.findOne({ _id: eventDocumentId(organizationId, id) })
    if (stored === null) throw new Error('a sample is missing')
    const slots = ['actor', ...sent.targets.map((_, target) => `target/${String(target)}`)]
    const subjects = slots.map((slot) => {
      const field = stored.fields.find((one) => 'slot' in one && one.slot === slot)
      return field !== undefined && 'subject' in field ? field.subject : undefined
    })
    const search = createDetector().begin()
    const detected = stored.fields.flatMap((field) =>
      'value' in field && field.slot !== 'context'
        ? [...search.kindsIn(JSON.parse(field.value) as JsonValue, field.value)]
        : [],
    )
    events.push({ id, sent, subjects, detected: [...new Set(detected)] })
  }
  const last = Math.max(...samples.map(({ occurredAt }) => Date.parse(occurredAt)))
  return { model: new SearchModel(events), endOfSamples: new Date(last + 1).toISOString() }
}

/** What filters are drawn with. */
export const filterSeeds = {
  first: fc.nat(),
  second: fc.nat(),
  same: fc.boolean(),
  picks: fc.infiniteStream(fc.nat()),
}

interface Drawn {
  readonly first: number
  readonly second: number
  readonly same: boolean
  readonly picks: Iterator<number>
}

/** A filter by these names, whose values come from events of the model: often from one that has them all. */
export function drawFilter(
  model: SearchModel,
  names: readonly FilterName[],
  { first, second, same, picks }: Drawn,
): ModelFilter {
  const having = names.map((name) =>
    model.events.filter((event) => valueFrom(event, name, () => 0) !== undefined),
  )
  const pick = (bound: number) => Number(picks.next().value ?? 0) % bound
  const filter: ModelFilter = {}
  names.forEach((name, index) => {
    const events = having[index] ?? []
    const both = events.filter((event) => having.every((others) => others.includes(event)))
    const from = same && both.length > 0 ? both : events
    const event = from[(same || index === 0 ? first : second) % from.length]
    if (event !== undefined) Object.assign(filter, valueFrom(event, name, pick))
  })
  return filter
}
