/** Searching as a reader does it: free text, order, budget, counts over time, what is related. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { JsonObject } from '../../src/events/contract.js'
import { bucketStart, type Interval } from '../../src/events/counts.js'
import { scan, type EventPosition, type ScanBudget } from '../../src/events/scan.js'
import { searchCriteria, type EventFilter } from '../../src/events/search.js'
import { eventIdOf } from '../../src/events/store.js'
import { createSubjectDirectory } from '../../src/subjects/directory.js'
import { systemClock } from '../../src/subjects/leases.js'
import { subjectStore } from '../../src/subjects/store.js'
import { checkWorldsSearch } from '../support/search-oracle.js'
import { openWorld, type World } from '../support/world.js'

const organizationId = 'org_search'
const base = `/v1/organizations/${organizationId}`
const minute = 60_000
const start = Date.UTC(2026, 0, 31, 22)
/** The events, one a minute: their order in time is their order here. */
const sent = Array.from({ length: 400 }, (_, index) => event(index))

let world: World
let auditor: string
let ids: string[]

function event(index: number): JsonObject {
  const denied = index % 100 === 3
  return {
    organizationId,
    action: index % 2 === 0 ? 'policy.rule.changed' : 'ListBuckets',
    occurredAt: new Date(start + index * minute).toISOString(),
    outcome: denied ? 'denied' : 'success',
    actor:
      index % 5 === 0 ? { type: 'service', id: 'scanner' } : { type: 'user', id: `u_${String(index % 7)}` },
    targets: [{ type: 'bucket', id: `b_${String(index % 10)}`, name: 'Quarterly “Zahlen” für Köln' }],
    context: { requestId: `req-${String(Math.floor(index / 3))}`, sessionId: `s_${String(index % 7)}` },
    description: index === 42 ? 'The needle was reproduced, 100% "quoted" \\ here.' : 'nothing of note',
    metadata: { nested: { keyName: ['deepValue', index] }, even: index % 2 === 0 },
  }
}

beforeAll(async () => {
  world = await openWorld()
  const answer = await world.request('POST', '/v1/events/batch', { body: { events: sent } })
  ids = (answer.body as { results: { id: string }[] }).results.map(({ id }) => id)
  auditor = await world.key({ role: 'auditor', principal: 'prn_01h455vb4pex5vsknk084sn02q' })
})
afterAll(async () => {
  await checkWorldsSearch(world)
  await world.close()
})

interface Page {
  readonly data: readonly ({ readonly id: string; readonly category: string } & JsonObject)[]
  readonly nextCursor: string | null
  readonly partial?: true
}

async function search(body: JsonObject, key = auditor): Promise<Page> {
  const answer = await world.request('POST', `${base}/events/search`, { key, body })
  expect(answer.status, answer.text).toBe(200)
  return answer.body as Page
}

/** Places in `sent` of what a search finds. */
const places = async (body: JsonObject) => {
  const { data } = await search({ limit: 500, category: 'product', ...body })
  return data.map(({ id }) => ids.indexOf(id))
}

describe('free text', () => {
  test.each([
    ['needle', [42]],
    ['NEEDLE "quoted"', [42]],
    ['needle absent', []],
    ['100% \\', [42]],
    ['produced', []],
    ['reprod', [42]],
    ['eedle', []],
    ['deepvalue needle', [42]],
    ['keyname needle', [42]],
    ['köln needle', [42]],
    ['KÖLN needle', [42]],
    ['“zahlen” needle', [42]],
    ['req-14 needle', [42]],
    ['policy.rule needle', [42]],
    ['42 needle', [42]],
    ['true needle', [42]],
    ['.* needle', []],
    ['(needle|x)', []],
    // Names of Annals' own members, and what stands in a person's block.
    ['metadata needle', []],
    ['u_0 needle', []],
  ])('%s', async (q, expected) => {
    expect(await places({ q })).toEqual(expected)
  })

  test('finds words where small letters turn into capitals', async () => {
    expect(await places({ q: 'buckets', limit: 1 })).toEqual([399])
    expect(await places({ q: 'uckets' })).toEqual([])
  })

  test.each([
    ['', 'too_short'],
    ['   ', 'too_short'],
    ['a b c d e f g h i', 'too_many'],
    ['x'.repeat(257), 'too_long'],
  ])('refuses %j', async (q, code) => {
    const answer = await world.request('POST', `${base}/events/search`, { key: auditor, body: { q } })
    expect(answer.status).toBe(422)
    expect(answer.body).toMatchObject({ errors: [{ path: 'q', code }] })
  })
})

describe('order', () => {
  test('asc replays from the oldest', async () => {
    expect(await places({ order: 'asc', limit: 3 })).toEqual([0, 1, 2])
  })

  test('a cursor belongs to its order', async () => {
    const { nextCursor } = await search({ limit: 3, order: 'asc' })
    const answer = await world.request('POST', `${base}/events/search`, {
      key: auditor,
      body: { limit: 3, cursor: nextCursor },
    })
    expect(answer.body).toMatchObject({ code: 'cursor_invalid' })
  })
})

describe('a scan that uses up its budget', () => {
  const budget: ScanBudget = { maxEvents: 20, maxMs: 60_000, windows: [10, 10] }

  async function walk(filter: EventFilter, order: 'asc' | 'desc', limit: number) {
    const { core } = world.api
    const { keyset } = await core.eventOrganizations.require(organizationId)
    const directory = createSubjectDirectory(subjectStore(core.db), core.keyring.periods, systemClock)
    const criteria = await searchCriteria(filter, { keyset, directory, personal: true })
    if (criteria === undefined) throw new Error('the filter can match nothing')
    const found: number[] = []
    let partials = 0
    let after: EventPosition | undefined
    do {
      const page = await scan(core.events, criteria, { order, after, limit, budget })
      found.push(...page.events.map(({ _id }) => ids.indexOf(eventIdOf(_id))))
      if (page.partial) partials += 1
      after = page.next
    } while (after !== undefined)
    return { found: order === 'asc' ? found : found.reverse(), partials }
  }

  test.each<[string, EventFilter, number[]]>([
    ['one rare word', { q: 'needle' }, [42]],
    ['two common terms', { action: 'ListBuckets', outcome: 'denied' }, [3, 103, 203, 303]],
    ['success alone', { outcome: 'success', q: 'needle' }, [42]],
    ['nothing at all', { q: 'absent' }, []],
  ])('%s: is partial, and complete in the end', async (_name, filter, expected) => {
    for (const order of ['asc', 'desc'] as const) {
      for (const limit of [1, 2, 500]) {
        const { found, partials } = await walk({ ...filter, category: 'product' }, order, limit)
        expect(found).toEqual(expected)
        // Four denials are few enough to be the leader: no budget is needed.
        expect(partials > 0).toBe(filter.outcome !== 'denied')
      }
    }
  })

  test('over HTTP an answer says that it is partial', async () => {
    // A budget of milliseconds cannot be held to in a test; that a complete answer does not say so can.
    expect(
      await search({ q: 'needle', from: new Date(start + 40 * minute).toISOString() }),
    ).not.toHaveProperty('partial')
  })
})

describe('counts', () => {
  async function counts(query: string) {
    const answer = await world.request('GET', `${base}/counts?${query}`, { key: auditor })
    expect(answer.status, answer.text).toBe(200)
    return answer.body as {
      data: { start: string; count: number; by?: Record<string, number> }[]
      from: string
    }
  }
  const range = `from=2026-01-31T22:30:00Z&to=2026-02-01T02:00:00Z`
  const inRange = sent
    .map((_, index) => ({ index, time: start + index * minute }))
    .filter(({ time }) => time >= Date.UTC(2026, 0, 31, 22, 30) && time < Date.UTC(2026, 1, 1, 2))

  test.each<Interval>(['hour', 'day', 'week', 'month'])('by %s', async (interval) => {
    const expected = new Map<string, number>()
    for (const { time } of inRange) {
      const bucket = bucketStart(new Date(time), interval).toISOString()
      expected.set(bucket, (expected.get(bucket) ?? 0) + 1)
    }
    const { data } = await counts(`interval=${interval}&${range}`)
    expect(data).toEqual([...expected].map(([bucket, count]) => ({ start: bucket, count })))
  })

  test.each([
    ['action=ListBuckets', inRange.filter(({ index }) => index % 2 === 1).length],
    ['action=policy.*', inRange.filter(({ index }) => index % 2 === 0).length],
    ['q=needle', 1],
    ['q=absent', 0],
    ['outcome=success', inRange.filter(({ index }) => index % 100 !== 3).length],
    ['metadata.even=true&targetId=b_2', inRange.filter(({ index }) => index % 10 === 2).length],
  ])('take the filters of the list: %s', async (filter, expected) => {
    const { data } = await counts(`interval=week&${range}&${filter}`)
    expect(data).toEqual([{ start: '2026-01-26T00:00:00.000Z', count: expected }])
  })

  test('divided by action', async () => {
    const { data } = await counts(`interval=week&${range}&by=action`)
    expect(data).toEqual([
      {
        start: '2026-01-26T00:00:00.000Z',
        count: inRange.length,
        by: { ListBuckets: inRange.length / 2, 'policy.rule.changed': inRange.length / 2 },
      },
    ])
  })

  test('empty buckets count 0', async () => {
    const { data } = await counts('interval=day&from=2020-01-01T00:00:00Z&to=2020-01-04T00:00:00Z')
    expect(data.map(({ count }) => count)).toEqual([0, 0, 0])
  })

  test('without a time range it is thirty buckets up to now', async () => {
    expect((await counts('')).data).toHaveLength(30)
    expect((await counts('interval=month')).data).toHaveLength(30)
  })

  test('more than 1,000 buckets are refused', async () => {
    const path = `${base}/counts?interval=hour&from=2020-01-01T00:00:00Z&to=2026-01-01T00:00:00Z`
    const answer = await world.request('GET', path, { key: auditor })
    expect(answer.body).toMatchObject({ code: 'invalid', errors: [{ path: 'interval', code: 'too_many' }] })
  })

  test('by a person need the grant, and are logged', async () => {
    const body = { actorEmail: 'jane@acme.example' }
    expect((await world.request('POST', `${base}/counts`, { key: auditor, body })).status).toBe(403)
    expect((await world.request('POST', `${base}/counts`, { body })).status).toBe(200)
    const note = await world.request('GET', `${base}/events?action=annals.personal.read&limit=1`)
    expect(note.body).toMatchObject({
      data: [{ metadata: { by: 'counts', filters: ['actorEmail', 'from', 'to'] } }],
    })
  })
})

describe('related events', () => {
  async function related(index: number, query: string, key = auditor) {
    const path = `${base}/events/${ids[index] ?? ''}/related?${query}`
    const answer = await world.request('GET', path, { key })
    expect(answer.status, answer.text).toBe(200)
    const { data, more } = answer.body as {
      data: { id: string; relatedBy: string[] }[]
      more: { before: boolean; after: boolean }
    }
    return { found: data.map(({ id, relatedBy }) => [ids.indexOf(id), relatedBy] as const), more }
  }

  test('by request', async () => {
    expect(await related(100, 'by=request')).toEqual({
      found: [
        [99, ['request']],
        [101, ['request']],
      ],
      more: { before: false, after: false },
    })
  })

  test('by actor: a person through the reference, a thing through its id', async () => {
    const person = await related(101, 'by=actor&within=PT15M')
    expect(person.found.map(([index]) => index)).toEqual([87, 94, 108])
    const thing = await related(100, 'by=actor&within=PT15M')
    expect(thing.found.map(([index]) => index)).toEqual([85, 90, 95, 105, 110, 115])
  })

  test('by target, the nearest on each side', async () => {
    expect(await related(100, 'by=target&limit=2&within=P1D')).toEqual({
      found: [80, 90, 110, 120].map((index) => [index, ['target']]),
      more: { before: true, after: true },
    })
  })

  test('by session needs the grant, and is logged', async () => {
    const path = `${base}/events/${ids[101] ?? ''}/related?by=session`
    expect((await world.request('GET', path, { key: auditor })).status).toBe(403)
    const { found } = await related(101, 'by=session&within=PT8M', world.ownerKey)
    expect(found.map(([index]) => index)).toEqual([94, 108])
    const note = await world.request('GET', `${base}/events?action=annals.personal.read&limit=1`)
    expect(note.body).toMatchObject({ data: [{ metadata: { by: 'related', filters: ['session'] } }] })
  })

  test('without `by` it is all that the reader may', async () => {
    const masked = await related(101, 'within=PT7M')
    expect(masked.found).toEqual([
      [94, ['actor']],
      [99, ['request']],
      [100, ['request']],
      [108, ['actor']],
    ])
    const whole = await related(101, 'within=PT7M', world.ownerKey)
    expect(whole.found).toContainEqual([94, ['actor', 'session']])
  })

  test.each(['within=P8D', 'within=1h', 'by=nothing', 'limit=0', 'limit=101', 'x=1'])(
    '%s is refused',
    async (query) => {
      const answer = await world.request('GET', `${base}/events/${ids[1] ?? ''}/related?${query}`, {
        key: auditor,
      })
      expect(answer.status).toBe(422)
    },
  )

  test('an event that is not there is 404', async () => {
    const answer = await world.request('GET', `${base}/events/evt_01h455vb4pex5vsknk084sn02q/related`)
    expect(answer.status).toBe(404)
  })
})
