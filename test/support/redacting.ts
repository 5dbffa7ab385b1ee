/** What the tests of redactions ask, with the keys of two officers, and where they look for what must be gone. */
import { randomBytes } from 'node:crypto'
import { gunzipSync } from 'node:zlib'
import { BSON } from 'mongodb'
import { expect } from 'vitest'
import type { RedactionView } from '../../src/redaction/schema.js'
import { verifyServer } from '../../src/verification/run.js'
import { archiveRange, archiverOf, dueRange } from './retaining.js'
import { drainUntilSealed } from './sealing.js'
import type { World } from './world.js'

export const [firstOfficer, secondOfficer] = [
  'prn_01jd2zq8w9e5cs0v1m6k3n7p4r',
  'prn_01jd2zq8w9e5cs0v1m6k3n7p4s',
] as const
export const secret = () => `hunter2-${randomBytes(8).toString('hex')}`
export const jane = { type: 'user', id: 'u_1', name: 'Jane Doe', email: 'jane@acme.example' }

/** Makes the organizations, and keys for them. */
export async function redactionDesk(world: World, organizations: readonly string[]) {
  for (const organization of organizations)
    await world.request('PUT', `/v1/organizations/${organization}`, { body: {} })
  const officer = (principal: string) =>
    world.key({ role: 'privacy_officer', principal, organizations: [...organizations], personal: true })
  const officers = [await officer(firstOfficer), await officer(secondOfficer)] as const

  async function post(organizationId: string, rest: object, headers: Record<string, string> = {}) {
    const body = {
      organizationId,
      action: 'document.opened',
      occurredAt: new Date().toISOString(),
      actor: { type: 'service', id: 'billing' },
      targets: [],
      ...rest,
    }
    const answer = await world.request('POST', '/v1/events', { body, headers })
    expect(answer.status, answer.text).toBe(201)
    return (answer.body as { id: string }).id
  }

  const ask = (organization: string, body: unknown, key: string = officers[0], headers = {}) =>
    world.request('POST', `/v1/organizations/${organization}/redactions`, { key, body, headers })
  const approve = (organization: string, id: string, key: string = officers[1]) =>
    world.request('POST', `/v1/organizations/${organization}/redactions/${id}/approve`, { key })
  const show = async (organization: string, id: string) =>
    (await world.request('GET', `/v1/organizations/${organization}/redactions/${id}`, { key: officers[0] }))
      .body as RedactionView

  async function asked(organization: string, body: unknown): Promise<RedactionView> {
    const answer = await ask(organization, body)
    expect(answer.status, answer.text).toBe(202)
    return answer.body as RedactionView
  }

  const verify = async (organization: string) => {
    await drainUntilSealed(world.api.core, organization)
    const options = { url: world.url, key: world.ownerKey, organization, logKeys: [], values: true }
    return (await verifyServer(options)).report
  }

  /** Places whose bytes hold the value: every collection, and every version of every object of the archive. */
  async function rawHits(value: string): Promise<string[]> {
    const { core } = world.api
    const hits: string[] = []
    for (const { name } of await core.db.listCollections().toArray())
      for await (const document of core.db.collection(name).find())
        if (Buffer.from(BSON.serialize(document)).includes(value)) hits.push(name)
    return hits
  }

  /** Every version of every object that the archive has of an organization, unpacked, by whether it holds the value. */
  async function archivedHits(organizationId: string, value: string): Promise<string[]> {
    const { archive } = world.api.core
    const hits: string[] = []
    for await (const version of archive.versions(`${organizationId}/`)) {
      const stream = await archive.getVersion(version)
      if (stream === undefined) continue
      const bytes = Buffer.concat(await stream.toArray())
      if ((version.path.endsWith('.gz') ? gunzipSync(bytes) : bytes).includes(value)) hits.push(version.path)
    }
    return hits
  }
  async function toArchive(organization: string): Promise<void> {
    await drainUntilSealed(world.api.core, organization)
    const range = await dueRange(world, organization, new Date(Date.now() + 30 * 86_400_000))
    if (range === undefined) throw new Error('nothing is due')
    await archiveRange(archiverOf(world), range)
  }

  return { officers, post, ask, approve, show, asked, verify, rawHits, archivedHits, toArchive }
}

export type RedactionDesk = Awaited<ReturnType<typeof redactionDesk>>
