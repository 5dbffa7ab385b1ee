import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openCheckpoint } from '../../src/transparency-log/checkpoint.js'
import { base64Bytes } from '../../src/transparency-log/encoding.js'
import { decodeEntryBundle } from '../../src/transparency-log/entry-bundle.js'
import { nodeHasher, nodeNoteCrypto, sha256 } from '../../src/transparency-log/node-crypto.js'
import { ed25519Verifier, parseVerifierKey } from '../../src/transparency-log/note-key.js'
import { checkTree } from '../../src/transparency-log/proof.js'
import { openTlogProof } from '../../src/transparency-log/tlog-proof.js'
import type { Acknowledged } from '../support/log-oracle.js'
import { accept, drainUntilSealed } from '../support/sealing.js'
import { openWorld, type Answer, type World } from '../support/world.js'

let world: World
let events: Acknowledged[]
const org = 'org_reading'
const prefix = `/v1/organizations/${org}`

/** The checkpoint of 280 leaves or so, before the log grew on. */
let earlier: { size: number; root: Uint8Array }

beforeAll(async () => {
  world = await openWorld()
  events = await accept(world.api.core, org, 279)
  await drainUntilSealed(world.api.core, org)
  earlier = await checkpoint()
  events.push(...(await accept(world.api.core, org, 320)))
  await drainUntilSealed(world.api.core, org)
})
afterAll(async () => {
  await world.close()
})

const get = (path: string, headers: Record<string, string> = {}, key?: string) =>
  world.request('GET', prefix + path, key === undefined ? { headers } : { headers, key })

async function bytes(path: string): Promise<{ headers: Headers; bytes: Uint8Array }> {
  const response = await fetch(world.url + prefix + path, {
    headers: { authorization: `Bearer ${world.ownerKey}` },
  })
  expect([path, response.status]).toEqual([path, 200])
  return { headers: response.headers, bytes: new Uint8Array(await response.arrayBuffer()) }
}

async function trustedLog() {
  const lines = (await get('/log/keys')).text.trim().split('\n')
  const keys = lines.map((line) => parseVerifierKey(line, sha256))
  return {
    origin: `annals.local/${org}/1`,
    logKeys: keys.map((key) => ed25519Verifier(key, nodeNoteCrypto)),
  }
}

async function checkpoint() {
  return openCheckpoint((await get('/log/checkpoint')).text, await trustedLog())
}

interface FeedBody {
  readonly data: readonly {
    readonly id: string
    readonly log: { generation: number; index: number }
    readonly actor: object
  }[]
  readonly next: string | null
}
const feedOf = (answer: Answer) => {
  expect([answer.status, answer.text]).toEqual([200, answer.text])
  return answer.body as FeedBody
}

/** Every event of the feed from a place on. */
async function feedFrom(after?: string, limit = 100): Promise<FeedBody['data'][number][]> {
  const all: FeedBody['data'][number][] = []
  let next = after ?? null
  for (;;) {
    const page = feedOf(await get(`/feed?limit=${String(limit)}${next === null ? '' : `&after=${next}`}`))
    if (page.data.length === 0) return all
    all.push(...page.data)
    next = page.next
  }
}

describe('tiles and checkpoints', () => {
  it('serves the newest checkpoint, uncached, under the log and under its generation', async () => {
    const newest = await get('/log/checkpoint')
    expect(newest.headers.get('cache-control')).toBe('no-store')
    expect(newest.headers.get('content-type')).toMatch(/^text\/plain/)
    expect((await get('/log/1/checkpoint')).text).toBe(newest.text)
    expect((await checkpoint()).size).toBeGreaterThanOrEqual(600)
  })

  it('serves full tiles as immutable and partial ones of every earlier size', async () => {
    const full = await bytes('/log/tile/0/000')
    expect(full.bytes).toHaveLength(256 * 32)
    expect(full.headers.get('cache-control')).toBe('private, max-age=3600, immutable')
    const named = await bytes('/log/1/tile/0/000')
    expect(named.headers.get('cache-control')).toBe('private, max-age=31536000, immutable')
    expect(named.bytes).toEqual(full.bytes)
    for (const width of [1, 23, 255]) {
      const partial = await bytes(`/log/tile/0/000.p/${String(width)}`)
      expect(partial.bytes).toEqual(full.bytes.subarray(0, width * 32))
      expect(partial.headers.get('cache-control')).toBe('private, max-age=60')
    }
    const { size } = await checkpoint()
    const edge = await bytes(`/log/tile/0/002.p/${String(size % 256)}`)
    expect(edge.bytes).toHaveLength((size % 256) * 32)
  })

  it('serves entry bundles whose records hash to the leaves beside them', async () => {
    for (const [path, width] of [
      ['000', 256],
      ['001.p/7', 7],
    ] as const) {
      const tile = (await bytes(`/log/tile/0/${path}`)).bytes
      const entries = decodeEntryBundle((await bytes(`/log/tile/entries/${path}`)).bytes, width)
      entries.forEach((entry, position) => {
        expect([...nodeHasher.leaf(entry)]).toEqual([...tile.subarray(position * 32, position * 32 + 32)])
      })
    }
  })

  it.each([
    '/log/tile/0/999',
    '/log/tile/0/0',
    '/log/tile/0/000.p/256',
    '/log/tile/0/000.p/0',
    '/log/tile/0/002',
    '/log/tile/64/000',
    '/log/tile/0/x000/000',
    '/log/tile/entries/x1/000',
    '/log/tile/entries/009',
    '/log/2/checkpoint',
    '/log/2/keys',
    '/log/0/checkpoint',
    '/log/x/checkpoint',
    '/log/2/tile/0/000',
    '/log',
  ])('answers 404 for %s', async (path) => {
    expect((await get(path)).status).toBe(404)
  })

  it('proves that a log begins with an earlier one', async () => {
    const now = await checkpoint()
    const answer = await get(`/log/consistency?from=${String(earlier.size)}&to=${String(now.size)}`)
    const { from, to, proof } = answer.body as { from: number; to: number; proof: string[] }
    expect([from, to]).toEqual([earlier.size, now.size])
    const hashes = proof.map((text) => base64Bytes(text) ?? new Uint8Array())
    const claim = { oldSize: from, oldRoot: earlier.root, newSize: to, newRoot: now.root }
    expect(() => checkTree(hashes, claim, nodeHasher)).not.toThrow()
    for (const query of ['from=5&to=4', 'from=1&to=99999', 'from=1', 'from=-1&to=2', 'from=01&to=2', '']) {
      expect([query, (await get(`/log/consistency?${query}`)).status]).toEqual([query, 422])
    }
  })
})

describe('receipts', () => {
  it('proves an event as text and as JSON, to a checkpoint of the same size', async () => {
    const [event] = events
    if (event === undefined) throw new Error('there are events')
    const answer = await get(`/events/${event.id}/proof`)
    expect(answer.headers.get('content-type')).toMatch(/^text\/plain/)
    const opened = openTlogProof(answer.text, event.leafHash, await trustedLog(), nodeHasher)
    const json = (await get(`/events/${event.id}/proof`, { accept: 'application/json' })).body as {
      record: string
      index: number
      size: number
      proof: string[]
      leafHash: string
    }
    expect(json).toMatchObject({ organizationId: org, id: event.id, generation: 1, index: opened.index })
    expect(json.size).toBe(opened.checkpoint.size)
    expect(Buffer.from(nodeHasher.leaf(Buffer.from(json.record)))).toEqual(Buffer.from(event.leafHash))
  })

  it('belongs to one size under load: every receipt taken while the log grows holds', async () => {
    const log = await trustedLog()
    const state = { growing: true }
    const grow = (async () => {
      for (let round = 0; round < 8; round += 1) {
        events.push(...(await accept(world.api.core, org, 40)))
        await drainUntilSealed(world.api.core, org)
      }
      state.growing = false
    })()
    const sizes = new Set<number>()
    let at = 0
    while (state.growing) {
      const asked = events.slice(at % 400, (at % 400) + 5)
      at += 5
      for (const event of asked) {
        const { text } = await get(`/events/${event.id}/proof`)
        sizes.add(openTlogProof(text, event.leafHash, log, nodeHasher).checkpoint.size)
      }
    }
    await grow
    expect(sizes.size).toBeGreaterThan(1)
  })

  it('answers 409 with Retry-After for what is not sealed yet, and 404 for what is not there', async () => {
    const [pending] = await accept(world.api.core, org, 1)
    const answer = await get(`/events/${String(pending?.id)}/proof`)
    expect([answer.status, (answer.body as { code: string }).code]).toEqual([409, 'not_sealed'])
    expect(answer.headers.get('retry-after')).toBe('1')
    expect((await get('/events/evt_01h455vb4pex5vsknk084sn02q/proof')).status).toBe(404)
    const fresh = await world.api.core.eventOrganizations.ensure('org_fresh', 'system')
    expect(fresh.keyset.organizationId).toBe('org_fresh')
    const empty = await world.request('GET', '/v1/organizations/org_fresh/log/checkpoint')
    expect([empty.status, (empty.body as { code: string }).code]).toEqual([409, 'not_sealed'])
    await drainUntilSealed(world.api.core, org)
  })
})

describe('who may read', () => {
  it('refuses roles without the permission, and answers the same bytes for a foreign and an absent organization', async () => {
    const paths = ['/log/checkpoint', '/log/tile/0/000', '/log/keys', '/log/consistency?from=1&to=2', '/feed']
    const ingest = await world.key({ role: 'ingest', principal: 'prn_00000000000000000000000001' })
    const bound = await world.key({ role: 'owner', organizations: ['org_other'] })
    for (const path of [...paths, `/events/${String(events[0]?.id)}/proof`]) {
      expect((await get(path, {}, ingest)).status).toBe(403)
      const foreign = await get(path, { 'x-request-id': 'same' }, bound)
      const absent = await world.request('GET', `/v1/organizations/org_nowhere${path}`, {
        key: world.ownerKey,
        headers: { 'x-request-id': 'same' },
      })
      expect([foreign.status, foreign.text]).toEqual([404, absent.text])
    }
  })
})

describe('the feed', () => {
  it('gives every event once, in leaf order, however it is paged', async () => {
    const all = await feedFrom(undefined, 101)
    const ids = all.map(({ id }) => id)
    expect(new Set(ids).size).toBe(ids.length)
    for (const { id } of events) expect(ids).toContain(id)
    expect(all.map(({ log }) => log.index)).toEqual(all.map((_, index) => index))
    const rest = await feedFrom('1.299', 500)
    expect(rest[0]?.log).toMatchObject({ generation: 1, index: 300 })
  })

  it('shows persons masked without the grant, and notes who saw one', async () => {
    const auditor = await world.key({ role: 'auditor', principal: 'prn_00000000000000000000000001' })
    const masked = feedOf(await get('/feed?limit=3', {}, auditor))
    expect(masked.data.at(-1)?.actor).toMatchObject({ type: 'user', masked: true })
    const shown = feedOf(await get('/feed?limit=3'))
    expect(shown.data.at(-1)?.actor).toHaveProperty('email')
    await drainUntilSealed(world.api.core, org)
    const notes = await world.request('GET', `${prefix}/events?action=annals.personal.read&limit=1`)
    expect(notes.text).toContain('"by":"feed"')
  })

  it('waits for a first event, and answers it as soon as it is sealed', async () => {
    const { next } = feedOf(await get('/feed?limit=500&after=1.0'))
    let last = next
    for (;;) {
      const page = feedOf(await get(`/feed?limit=500&after=${String(last)}`))
      if (page.data.length === 0) break
      last = page.next
      await drainUntilSealed(world.api.core, org)
    }
    const waiting = get(`/feed?after=${String(last)}&wait=50&personal=false`)
    const [event] = await accept(world.api.core, org, 1)
    await drainUntilSealed(world.api.core, org)
    const page = feedOf(await waiting)
    expect(page.data.map(({ id }) => id)).toEqual([event?.id])
    expect(feedOf(await get(`/feed?after=${String(page.next)}&wait=1`))).toEqual({
      data: [],
      next: page.next,
    })
  })

  it('refuses a place that the log never had, and malformed questions', async () => {
    for (const after of ['1.99999', '2.0']) {
      const answer = await get(`/feed?after=${after}`)
      expect([answer.status, (answer.body as { code: string }).code]).toEqual([400, 'cursor_invalid'])
    }
    for (const query of [
      'after=1',
      'after=0.1',
      'after=1.-1',
      'limit=0',
      'limit=501',
      'wait=61',
      'view=x',
      'x=1',
    ]) {
      expect([query, (await get(`/feed?${query}`)).status]).toEqual([query, 422])
    }
  })

  it('gives the verifiable form without a salt that would let guesses be tested', async () => {
    const auditor = await world.key({ role: 'auditor', principal: 'prn_00000000000000000000000001' })
    const fieldOf = (answer: Answer) => {
      const { data } = answer.body as { data: { event: { fields: { slot: string }[] } }[] }
      return data.at(-1)?.event.fields.find(({ slot }) => slot === 'actor')
    }
    const withheld = fieldOf(await get('/feed?limit=3&view=verifiable', {}, auditor))
    expect(Object.keys(withheld ?? {}).sort()).toEqual([
      'commitment',
      'slot',
      'subject',
      'subjectSalt',
      'withheld',
    ])
    const shown = fieldOf(await get('/feed?limit=3&view=verifiable'))
    expect(Object.keys(shown ?? {}).sort()).toEqual([
      'commitment',
      'salt',
      'slot',
      'subject',
      'subjectSalt',
      'value',
    ])
  })

  it('goes on without events that left the hot store', async () => {
    const [event] = await accept(world.api.core, org, 1)
    await drainUntilSealed(world.api.core, org)
    await world.api.core.events.deleteOne({ _id: `${org}/${String(event?.id)}` })
    const all = await feedFrom('1.500', 500)
    const remains = all.find(({ id }) => id === event?.id)
    expect(remains).toMatchObject({
      content: 'absent',
      action: 'team.member.invited',
      actor: { type: 'user' },
    })
  })

  it('ends a long-poll when the process is about to stop, and when the client goes away', async () => {
    const { next } = feedOf(await get('/feed?limit=500&after=1.400'))
    let last = next
    for (
      let page = feedOf(await get(`/feed?limit=500&personal=false&after=${String(last)}`));
      page.data.length > 0;
    ) {
      last = page.next
      page = feedOf(await get(`/feed?limit=500&personal=false&after=${String(last)}`))
    }
    const gone = new AbortController()
    const left = fetch(`${world.url}${prefix}/feed?after=${String(last)}&wait=60`, {
      headers: { authorization: `Bearer ${world.ownerKey}` },
      signal: gone.signal,
    })
    const waiting = get(`/feed?after=${String(last)}&wait=60`)
    await new Promise((resolve) => setTimeout(resolve, 100))
    gone.abort()
    await expect(left).rejects.toThrow()
    world.api.health.startDraining()
    expect(feedOf(await waiting)).toEqual({ data: [], next: last })
    expect(feedOf(await get(`/feed?after=${String(last)}&wait=60`))).toEqual({ data: [], next: last })
  })
})
