import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { MongoClient } from 'mongodb'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { StoredEvent } from '../../src/events/store.js'
import { checkStoreEqualsSearch } from '../support/search-oracle.js'
import { startUp, type RunningUp } from '../support/annals-up.js'

const organizationId = 'org_crash'
const folder = mkdtempSync(join(tmpdir(), 'annals-crash-'))
let up: RunningUp
let key = ''

beforeAll(async () => {
  up = await startUp(folder)
  key = up.firstKey ?? ''
})
afterAll(async () => {
  await up.stop()
  rmSync(folder, { recursive: true, force: true })
})

interface Acknowledged {
  readonly id: string
  readonly leafHash: string
}

/** Idempotency key → what was acknowledged under it. */
const acknowledged = new Map<string, Acknowledged>()

async function call(method: string, path: string, body?: unknown, headers: Record<string, string> = {}) {
  const response = await fetch(up.apiUrl + path, {
    method,
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', ...headers },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  return { status: response.status, body: (await response.json()) as Record<string, unknown> }
}

/** Tries until it is answered: connections break and 503s come while things die. */
async function insist(attempt: () => Promise<{ status: number; body: Record<string, unknown> }>) {
  for (let tries = 0; tries < 400; tries += 1) {
    const answer = await attempt().catch(() => undefined)
    if (answer !== undefined && answer.status < 500) return answer
    await sleep(100)
  }
  throw new Error('no answer after all tries')
}

/** Posts events from several clients until told to stop; each is insisted on under its key, as a real client does. */
function startLoad(name: string): { stop(): Promise<void> } {
  let running = true
  let next = 0
  const client = async () => {
    while (running) {
      const idempotencyKey = `${name}-${String((next += 1))}`
      const event = {
        organizationId,
        action: 'document.opened',
        occurredAt: new Date().toISOString(),
        actor: { type: 'user', id: `u_${String(next % 50)}`, name: 'Somebody' },
        targets: [{ type: 'document', id: idempotencyKey }],
        metadata: { n: next },
      }
      const answer = await insist(() =>
        call('POST', '/v1/events', event, { 'idempotency-key': idempotencyKey }),
      )
      expect(answer.status).toBe(201)
      acknowledged.set(idempotencyKey, {
        id: String(answer.body['id']),
        leafHash: String(answer.body['leafHash']),
      })
    }
  }
  const clients = Promise.all(Array.from({ length: 8 }, client))
  return {
    async stop() {
      running = false
      await clients
    },
  }
}

/** The oracle: reads the whole store and holds it against everything that was ever acknowledged. */
async function checkEverythingAcknowledgedIsThereOnce(): Promise<void> {
  const client = await MongoClient.connect(up.mongodbUri)
  try {
    const stored = await client
      .db('annals')
      .collection<StoredEvent>('events')
      .find({ organizationId })
      .toArray()
    const byId = new Map(stored.map((event) => [event._id, event]))
    expect(byId.size).toBe(stored.length)
    const targets = new Map<string, number>()
    for (const event of stored.filter(({ action }) => action === 'document.opened')) {
      for (const field of event.fields) {
        if (!('slot' in field) || field.slot !== 'target/0' || !('value' in field)) continue
        targets.set(field.value, (targets.get(field.value) ?? 0) + 1)
      }
    }
    expect([...targets.values()].filter((count) => count !== 1)).toEqual([])
    for (const [idempotencyKey, { id, leafHash }] of acknowledged) {
      expect(byId.get(`${organizationId}/${id}`)?.leafHash.toString('base64'), idempotencyKey).toBe(leafHash)
      expect(targets.get(JSON.stringify({ id: idempotencyKey }))).toBe(1)
    }
    const ids = [...acknowledged.values()].map(({ id }) => id)
    const deployment = { db: client.db('annals'), get: (path: string) => call('GET', path) }
    await checkStoreEqualsSearch(deployment, organizationId, ids)
    const scans = stored.filter(({ action }) => action.startsWith('annals.scan.')).map(({ action }) => action)
    expect(scans.sort()).toEqual(
      scansExpected.flatMap(() => ['annals.scan.finished', 'annals.scan.started']).sort(),
    )
  } finally {
    await client.close()
  }
}

const scansExpected: string[] = []

async function killAndWait(part: string): Promise<void> {
  const pid = up.pid(part)
  process.kill(pid, 'SIGKILL')
  for (let tries = 0; tries < 300; tries += 1) {
    await sleep(100)
    try {
      if (up.pid(part) !== pid) return
    } catch {
      // Between the death of one and the record of the next.
    }
  }
  throw new Error(`${part} was not restarted`)
}

/** The load goes on: waits until so many more were acknowledged. */
async function acknowledgedMore(count: number): Promise<void> {
  const before = acknowledged.size
  await expect.poll(() => acknowledged.size - before).toBeGreaterThanOrEqual(count)
}

test('kill -9 of API, database and worker loses and doubles nothing', async () => {
  const load = startLoad('killed')
  await acknowledgedMore(40)
  await killAndWait('serve')
  await acknowledgedMore(40)
  const scan = await insist(() =>
    call(
      'POST',
      `/v1/organizations/${organizationId}/scans`,
      { engine: 'nightly' },
      { 'idempotency-key': 'scan-1' },
    ),
  )
  expect(scan.status).toBeLessThan(300)
  scansExpected.push(String(scan.body['id']))
  await killAndWait('mongod')
  await acknowledgedMore(40)
  await killAndWait('work')
  const path = `/v1/organizations/${organizationId}/scans/${String(scan.body['id'])}`
  const finished = await insist(() =>
    call('POST', `${path}/finish`, { outcome: 'success', counts: { issues: 3 } }),
  )
  expect(finished.status).toBe(202)
  await killAndWait('work')
  await killAndWait('serve')
  await acknowledgedMore(10)
  await load.stop()
  for (let tries = 0; tries < 300; tries += 1) {
    const answer = await insist(() =>
      call('GET', `/v1/organizations/${organizationId}/events?action=annals.scan.finished`),
    )
    if ((answer.body['data'] as unknown[]).length > 0) break
    await sleep(200)
  }
  await checkEverythingAcknowledgedIsThereOnce()
})

test('after kill -9 of everything, a second start finds all data', async () => {
  const load = startLoad('all')
  await sleep(1_000)
  up.killEverything()
  const before = acknowledged.size
  up = await startUp(folder)
  expect(up.firstKey).toBeUndefined()
  await expect.poll(() => acknowledged.size).toBeGreaterThan(before)
  await load.stop()
  await checkEverythingAcknowledgedIsThereOnce()
})

test('Ctrl-C ends with nothing left running', async () => {
  const parts = ['serve', 'work', 'mongod', 'temporal'].map((part) => up.pid(part))
  expect(await up.stop()).toBe(0)
  for (const pid of parts) expect(() => process.kill(pid, 0)).toThrow('ESRCH')
})
