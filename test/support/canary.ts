/**
 * A whole deployment with a person in every place of it, in two organizations: what is archived, restored, hot and pending,
 * scans, officers' words. Everything comes in over HTTP and is moved by the workers that a deployment has.
 */
import { randomBytes } from 'node:crypto'
import { gunzipSync } from 'node:zlib'
import type { Document } from 'mongodb'
import { expect } from 'vitest'
import type { ErasureIdentifier } from '../../src/erasure/contract.js'
import { createLogger } from '../../src/logging.js'
import { createPlanner } from '../../src/retention/planning.js'
import { connectTemporal, temporalOptions, type TemporalConnection } from '../../src/temporal/client.js'
import { buildWorkflowBundle } from '../../workers/bundle.js'
import { startWorkers, type RunningWorkers } from '../../workers/main.js'
import { openArchiveWorld, type ArchiveKind, type ArchiveWorld } from './archive-worlds.js'
import { completingLater } from './certificates.js'
import { segmentsOf } from './archiving.js'
import { realSteps } from './erasure-workers.js'
import type { Answer, World } from './world.js'

export const canary = {
  id: 'u_9157-canary',
  name: 'Zenobia Canary',
  email: 'zenobia.canary@acme.example',
  phone: '+49 30 5550199',
  ip: '198.51.100.201',
}
export const canaryValues = Object.values(canary)
export const canaryIdentifiers: readonly ErasureIdentifier[] = [
  { kind: 'id', type: 'user', value: canary.id },
  { kind: 'email', value: canary.email },
  { kind: 'phone', value: canary.phone },
  { kind: 'other', value: canary.name },
  { kind: 'other', value: canary.ip },
]
const person = { type: 'user', id: canary.id, name: canary.name, email: canary.email }
const colleague = { type: 'user', id: 'u_colleague', name: 'Some Colleague', email: 'colleague@acme.example' }
const service = { type: 'service', id: 'billing' }

export const wait = { interval: 50 }

export interface CanaryWorld extends ArchiveWorld {
  readonly temporal: TemporalConnection
  /** Keys of two privacy officers, with the personal grant. */
  readonly officers: readonly [string, string]
  /** From now on nothing is sealed but by who needs it. */
  stopSealing(): Promise<void>
  /** All that API and workers have logged. */
  logs(): string
}

export async function openCanaryWorld(
  kind: ArchiveKind,
  organizations: readonly string[],
): Promise<CanaryWorld> {
  await buildWorkflowBundle()
  const namespace = `canary-${randomBytes(6).toString('hex')}`
  const opened = await openArchiveWorld(kind, {
    temporal: true,
    environment: { ANNALS_TEMPORAL_NAMESPACE: namespace },
  })
  const { world } = opened
  const { core } = world.api
  const temporal = await connectTemporal(temporalOptions(world.config))
  for (const organization of organizations) {
    const base = `/v1/organizations/${organization}`
    await accepted(world.request('PUT', base, { body: { coolingOffHours: 0 } }))
    const body = { hotDays: 0, archiveDays: null, recordDays: null }
    await accepted(world.request('PUT', `${base}/retention`, { body }))
  }
  const lines: string[] = []
  const logger = createLogger('debug', { write: (line) => void lines.push(line) })
  const planner = createPlanner({ db: core.db, clock: core.retention.clock })
  const work = (queues: Parameters<typeof startWorkers>[0]['queues']): Promise<RunningWorkers> =>
    startWorkers({
      config: world.config,
      logger,
      deps: {
        scanRecorder: core.scans.recorder,
        sealing: { ...core.sealing, logger },
        retention: {
          restoring: { restorer: core.restores.restorer, logger },
          archiving: { ...core.archiving, planner, runs: core.retention.runs, logger },
          expiring: { ...core.expiring, runs: core.retention.runs, logger },
        },
        erasure: {
          recorder: core.erasures.recorder,
          // The months until backups and period keys are gone.
          steps: realSteps(core, temporal, { completing: completingLater(core) }),
        },
      },
      queues,
    })
  const officer = (principal: string) =>
    world.key({ role: 'privacy_officer', principal, organizations: [...organizations], personal: true })
  const officers = [
    await officer('prn_01jd2zq8w9e5cs0v1m6k3n7p4r'),
    await officer('prn_01jd2zq8w9e5cs0v1m6k3n7p4s'),
  ] as const
  const sealing = await work(['seal'])
  const others = await work(['retention', 'erasure', 'scans'])
  return {
    ...opened,
    temporal,
    officers,
    stopSealing: () => sealing.stop(),
    logs: () => world.logs() + lines.join(''),
    async close() {
      await sealing.stop()
      await others.stop()
      await temporal.close()
      await opened.close()
    },
  }
}

export async function accepted<T = { readonly id: string }>(sent: Promise<Answer>): Promise<T> {
  const answer = await sent
  expect(answer.status, answer.text).toBeGreaterThanOrEqual(200)
  expect(answer.status, answer.text).toBeLessThan(300)
  return answer.body as T
}

/** Events about the person, and others that name them, as products write them. */
const events: readonly object[] = [
  {
    actor: { ...person, metadata: { phone: canary.phone, boss: colleague.email } },
    context: { ip: canary.ip, userAgent: 'Mozilla/5.0', sessionId: `session of ${canary.id}` },
    description: `${canary.name} signed in`,
    metadata: { plan: 'pro' },
  },
  { actor: colleague, targets: [person, { type: 'document', id: 'd_1', name: `CV of ${canary.name}` }] },
  { description: `line\nof ${canary.name} (${canary.phone}), from ${canary.ip}`, context: { ip: canary.ip } },
  {
    metadata: {
      url: `https://x.example/?who=${encodeURIComponent(canary.email)}&from=${canary.ip}`,
      raw: JSON.stringify({ user: canary.id, note: `line\n${canary.email}` }),
      html: `<b>${canary.email.replace('@', '&#64;')}</b>`,
      packed: Buffer.from(`{"mail":"${canary.email}"}`).toString('base64'),
      [canary.email]: 'as a key',
      untouched: 'stays',
    },
  },
  { actor: { ...colleague, metadata: { deputy: canary.email, call: canary.phone } } },
  { actor: { type: 'service', id: `token-of-${canary.id}`, name: `Token of ${canary.name}` } },
]

/** @returns ids, in the order of the events above */
export async function spreadEvents(world: World, organizationId: string): Promise<string[]> {
  const ids: string[] = []
  for (const [position, event] of events.entries()) {
    const occurredAt = new Date().toISOString()
    const common = { organizationId, action: 'document.opened', occurredAt, actor: service, targets: [] }
    const headers = { 'idempotency-key': `${String(position)} of ${randomBytes(6).toString('hex')}` }
    ids.push(
      (await accepted(world.request('POST', '/v1/events', { body: { ...common, ...event }, headers }))).id,
    )
  }
  return ids
}

export async function sealed({ api: { core } }: World, organizationId: string): Promise<void> {
  const pending = () => core.events.countDocuments({ organizationId, pending: true })
  await expect.poll(pending, wait).toBe(0)
}

/** Lets the workers archive what is sealed. */
export async function archived(world: World, organizationId: string, ids: readonly string[]): Promise<void> {
  await accepted(world.request('POST', `/v1/organizations/${organizationId}/retention/run`))
  const hot = { _id: { $in: ids.map((id) => `${organizationId}/${id}`) } }
  await expect.poll(() => world.api.core.events.countDocuments(hot), wait).toBe(0)
}

/** Has the archive brought back. @returns the id of the restore */
export async function restored(world: World, organizationId: string, reason: string): Promise<string> {
  const path = `/v1/organizations/${organizationId}/archive/restores`
  const body = { from: '2000-01-01T00:00:00Z', to: '2999-01-01T00:00:00Z', days: 7, reason }
  const { id } = await accepted(world.request('POST', path, { body }))
  const state = async () =>
    (await accepted<{ readonly state: string }>(world.request('GET', `${path}/${id}`))).state
  await expect.poll(state, wait).toBe('restored')
  return id
}

/** A scan whose metadata, progress and findings name the person. @returns its id */
export async function scanned(world: World, organizationId: string): Promise<string> {
  const path = `/v1/organizations/${organizationId}/scans`
  const post = (to: string, body: object) => accepted(world.request('POST', to, { body }))
  const { id } = await post(path, { engine: 'dlp', metadata: { askedBy: canary.email, about: canary.name } })
  await post(`${path}/${id}/progress`, { percent: 40, message: `reading the mail of ${canary.name}` })
  await post(`${path}/${id}/finish`, {
    outcome: 'success',
    findings: [{ user: canary.id, mail: canary.email, phones: [canary.phone], from: canary.ip }],
    link: `https://dlp.example/r?user=${canary.id}`,
  })
  return id
}

/** An erasure request, submitted by the first officer, and verified. @returns its path, in review */
export async function requested(
  { world, officers: [first] }: CanaryWorld,
  organizationId: string,
  identifiers: readonly object[],
  requester: string,
  note: string,
): Promise<string> {
  const base = `/v1/organizations/${organizationId}/erasures`
  const body = {
    identifiers,
    ground: '17(1)(b)',
    requester,
    channel: 'letter',
    receivedAt: new Date().toISOString(),
    jointFreeText: 'redact',
  }
  const { id } = await accepted(world.request('POST', base, { body, key: first }))
  const verify = { method: 'passport seen', result: 'verified', note }
  await accepted(world.request('POST', `${base}/${id}/verify-identity`, { body: verify, key: first }))
  await reaches(world, `${base}/${id}`, first, 'review')
  return `${base}/${id}`
}

/** Waits until a request has come to a state; one that stops elsewhere says why. */
export async function reaches(world: World, path: string, key: string, state: string): Promise<void> {
  const look = async () => {
    const seen = await accepted<{ readonly state: string; readonly needsOperator: unknown }>(
      world.request('GET', path, { key }),
    )
    return seen.state === 'needs_operator' ? seen : seen.state
  }
  const stopped: unknown[] = []
  await expect
    .poll(async () => {
      const seen = await look()
      if (typeof seen !== 'string') stopped.push(seen.needsOperator)
      return stopped.length > 0 ? stopped[0] : seen
    }, wait)
    .toBe(state)
}

/** Bytes that were made for the person's subjects: ciphertexts, wrapped keys, directory hashes, fingerprints of bodies. */
export async function secretsOf({ api: { core } }: World, organizationId: string): Promise<Buffer[]> {
  const { db, archive } = core
  const keyset = await core.erasing.deps.keysetOf(organizationId)
  const references = new Set(await core.erasing.deps.directory.find(keyset, { type: 'user', id: canary.id }))
  expect(references.size).toBe(1)
  const secrets: Buffer[] = []
  const add = (value: unknown) => {
    if (Buffer.isBuffer(value)) secrets.push(value)
    else if (typeof value === 'string') secrets.push(Buffer.from(value, 'base64'))
  }
  const addBlocks = (fields: unknown) => {
    for (const field of Array.isArray(fields) ? (fields as Document[]) : [])
      if (references.has(String(field['subject']))) add(field['sealed'])
  }
  const options = { promoteBuffers: true }
  for (const name of ['events', 'restoredEvents'])
    for await (const event of db.collection(name).find({ organizationId }, options)) {
      addBlocks(event['fields'])
      // Annals' own are about nobody.
      if (event['category'] !== 'system') add(event['fingerprint'])
    }
  for await (const entry of db.collection('directory').find({ organizationId }, options)) {
    if (!references.has(String(entry['subject']))) continue
    secrets.push(Buffer.from(String(entry._id).split('/')[2] ?? '', 'base64url'))
    add(entry['lookup'])
    add(entry['sealed'])
  }
  for (const reference of references) {
    const subject = await core.db
      .collection<{ _id: string; key: { wrapped: Buffer } }>('subjects')
      .findOne({ _id: `${organizationId}/${reference}` }, options)
    add(subject?.key.wrapped)
  }
  for (const { content } of await segmentsOf(core).find({ organizationId }).toArray()) {
    const stream = await archive.get(content?.file.path ?? '')
    const bytes = Buffer.concat((await stream?.toArray()) as Buffer[])
    for (const line of gunzipSync(bytes).toString('utf8').split('\n'))
      if (line !== '') addBlocks((JSON.parse(line) as Document)['fields'])
  }
  return secrets
}
