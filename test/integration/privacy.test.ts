import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MongoClient } from 'mongodb'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { defaultPersonTypes } from '../../src/organizations/contract.js'
import { isPersonActor, isPersonTarget } from '../../src/subjects/policy.js'
import { Acknowledgements } from '../support/acknowledged.js'
import { startUp, type RunningUp } from '../support/annals-up.js'
import { allSamples, chunks, type SampleParty } from '../support/samples.js'
import { checkStoreEqualsSearch } from '../support/search-oracle.js'

const folder = mkdtempSync(join(tmpdir(), 'annals-privacy-'))
const samples = allSamples()
let up: RunningUp

beforeAll(async () => {
  up = await startUp(folder)
})
afterAll(async () => {
  await up.stop()
  rmSync(folder, { recursive: true, force: true })
})

async function call(method: string, path: string, body?: unknown): Promise<{ status: number; text: string }> {
  const response = await fetch(up.apiUrl + path, {
    method,
    headers: { authorization: `Bearer ${up.firstKey ?? ''}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  })
  return { status: response.status, text: await response.text() }
}

/** What the samples say of their persons: ids, names, e-mails, addresses. */
function personalValues(): Set<string> {
  const values = new Set<string>()
  const add = (value: unknown) => {
    // Three characters are somewhere in any file; a value that is a common word of the product proves nothing.
    if (typeof value === 'string' && value.length >= 6 && !commonWords.has(value.toLowerCase()))
      values.add(value)
  }
  const addParty = ({ id, name, email }: SampleParty) => [id, name, email].forEach(add)
  for (const sample of samples) {
    if (isPersonActor(sample.actor.type)) {
      addParty(sample.actor)
      add(sample.context['ip'])
      add(sample.context['sessionId'])
    }
    for (const target of sample.targets) if (isPersonTarget(target.type, defaultPersonTypes)) addParty(target)
  }
  return values
}
const commonWords = new Set([
  'system',
  'service',
  'internal',
  'unknown',
  '127.0.0.1',
  'anonymous',
  'automation',
  // Sample ids that are words of the envelope as well: a type of a target.
  'user_id',
])

/**
 * Does the text hold the value as a word of its own? Random ids and base64 hold any short run of digits; a value
 * that leaked stands between delimiters.
 */
function leaks(text: string, values: ReadonlySet<string>): string[] {
  return [...values].filter((value) => {
    for (let at = text.indexOf(value); at >= 0; at = text.indexOf(value, at + 1)) {
      const before = text[at - 1] ?? ' '
      const after = text[at + value.length] ?? ' '
      if (!/[A-Za-z0-9+/_=-]/.test(before) && !/[A-Za-z0-9+/_=-]/.test(after)) return true
    }
    return false
  })
}

const text = (value: unknown) => (typeof value === 'string' ? value : 'nobody at all')

/** Every string and every byte of a document, but the clear fields of events. */
function textOf(value: unknown, key = ''): string {
  if (key === 'value') return ''
  if (typeof value === 'string') return value
  if (value instanceof Uint8Array) return Buffer.from(value).toString('latin1')
  if (typeof value !== 'object' || value === null || value instanceof Date) return String(value)
  return Object.entries(value)
    .map(([name, member]) => `${name}\n${textOf(member, name)}`)
    .join('\n')
}

test('no store and no log holds an id, a name, an e-mail or an address outside clear fields', async () => {
  const acknowledged = new Acknowledgements()
  for (const batch of chunks(samples, 500)) {
    const path = '/v1/events/batch'
    const { status, text: answer } = await call('POST', path, { events: batch })
    expect(status).toBe(200)
    acknowledged.note('POST', path, { events: batch }, status, JSON.parse(answer))
  }
  // Personal values on every other way in: as filters, in addresses, in bodies that are refused, in scans.
  for (const { organizationId, actor, context } of chunks(samples, 40)
    .map(([first]) => first ?? samples[0])
    .filter((one) => one !== undefined)) {
    const base = `/v1/organizations/${organizationId}`
    const id = encodeURIComponent(text(actor['id']))
    await call('GET', `${base}/events?limit=100&actorId=${id}`)
    await call('GET', `${base}/events/${id}`)
    await call('GET', `/v1/${id}`)
    await call('POST', `${base}/events/search`, {
      actorEmail: actor['email'] ?? 'x',
      ip: context['ip'] ?? 'x',
    })
    await call('POST', '/v1/events', {
      organizationId,
      action: text(actor['name']),
      actor,
      extra: actor,
    })
    await call('POST', '/v1/events', `{"actor": ${JSON.stringify(actor)}, broken`)
    const started = await call('POST', `${base}/scans`, { engine: 'nightly', metadata: { asked: actor } })
    expect(started.status).toBe(201)
    const { id: scanId } = JSON.parse(started.text) as { id: string }
    await call('POST', `${base}/scans/${scanId}/progress`, { percent: 50, message: JSON.stringify(actor) })
    await call('POST', `${base}/scans/${scanId}/finish`, {
      outcome: 'success',
      findings: { seen: [actor, context] },
    })
  }
  const values = personalValues()
  expect(values.size).toBeGreaterThan(500)

  const client = await MongoClient.connect(up.mongodbUri)
  try {
    const db = client.db('annals')
    for (const { name } of await db.listCollections().toArray()) {
      // A scan's own metadata and findings are clear fields too: the vendor's free form, like an event's metadata.
      const documents = await db.collection(name).find({}, { promoteBuffers: true }).toArray()
      if (name === 'scanFindings') {
        // The control: this search does find persons where they are in clear.
        expect(leaks(textOf(documents), values)).not.toEqual([])
        continue
      }
      for (const { metadataJson, progress, ...document } of documents) {
        expect(leaks(textOf(document), values), name).toEqual([])
      }
    }
    const get = async (path: string) => {
      const { status, text: answer } = await call('GET', path)
      return { status, body: JSON.parse(answer) as unknown }
    }
    for (const [organizationId, ids] of acknowledged.ids)
      await checkStoreEqualsSearch({ db, get }, organizationId, ids)
  } finally {
    await client.close()
  }
  const files = [join(folder, 'logs'), join(folder, 'temporal')].flatMap((path) =>
    readdirSync(path).map((name) => join(path, name)),
  )
  expect(files.length).toBeGreaterThan(4)
  for (const file of files.filter((path) => statSync(path).isFile())) {
    expect(leaks(readFileSync(file, 'latin1'), latin1(values)), file).toEqual([])
  }
})

/** The values as their UTF-8 bytes look in a file read byte by byte. */
const latin1 = (values: ReadonlySet<string>) =>
  new Set([...values].map((value) => Buffer.from(value).toString('latin1')))
