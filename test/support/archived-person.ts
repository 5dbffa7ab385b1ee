/** A person in the archive of a world: who they are, how their events get there, and archived content with faults in it. */
import { join } from 'node:path'
import { expect } from 'vitest'
import { createArchiveKeys } from '../../src/archive/segment-keys.js'
import { createSegmentsStore } from '../../src/archive/segments-store.js'
import { createSegmentWriter } from '../../src/archive/segment-writer.js'
import { createLogFiles } from '../../src/erasure/log-files.js'
import { createArchivedContent } from '../../src/erasure/archived-content.js'
import type { ErasureIdentifier } from '../../src/erasure/contract.js'
import type { ErasingDependencies } from '../../src/erasure/erasing.js'
import { createTargets } from '../../src/erasure/targets/registry.js'
import type { ArchiveInput } from '../../src/retention/contract.js'
import { segmentsOf } from './archiving.js'
import { archiveHits, rawHits } from './erasure-oracle.js'
import { archiveRange, archiverOf, type Wrap } from './retaining.js'
import { drainUntilSealed } from './sealing.js'
import type { World } from './world.js'

export const canary = {
  id: 'u_4471-archived',
  name: 'Ottoline Archived',
  email: 'ottoline.archived@acme.example',
  phone: '+49 30 5550188',
  ip: '198.51.100.88',
}
export const canaryIdentifiers: readonly ErasureIdentifier[] = [
  { kind: 'id', type: 'user', value: canary.id },
  { kind: 'email', value: canary.email },
  { kind: 'phone', value: canary.phone },
  { kind: 'other', value: canary.name },
  { kind: 'other', value: canary.ip },
]
export const person = { type: 'user', id: canary.id, name: canary.name, email: canary.email }
export const somebodyElse = { type: 'user', id: 'u_other', name: 'Somebody Else', email: 'else@acme.example' }

export async function post(world: World, organizationId: string, rest: object): Promise<{ id: string }> {
  const body = {
    organizationId,
    action: 'document.opened',
    occurredAt: new Date().toISOString(),
    actor: { type: 'service', id: 'billing' },
    targets: [],
    ...rest,
  }
  const answer = await world.request('POST', '/v1/events', { body })
  expect(answer.status, answer.text).toBe(201)
  return answer.body as { id: string }
}

/** Five events: the person as actor and as target, in text, in others' metadata, and in an encoding. */
export async function spread(world: World, organizationId: string) {
  const own = await post(world, organizationId, {
    actor: { ...person, metadata: { phone: canary.phone } },
    context: { ip: canary.ip, userAgent: 'Mozilla/5.0' },
    metadata: { plan: 'pro' },
  })
  const both = await post(world, organizationId, { targets: [person], actor: somebodyElse })
  const text = await post(world, organizationId, { description: `line\nof ${canary.name} (${canary.phone})` })
  await post(world, organizationId, {
    metadata: {
      url: `https://x.example/?who=${encodeURIComponent(canary.email)}`,
      raw: JSON.stringify({ user: canary.id, note: `line\n${canary.email}` }),
      untouched: 'stays',
    },
  })
  await post(world, organizationId, { actor: { ...somebodyElse, metadata: { manager: canary.email } } })
  return { own, both, text }
}

/** What is sealed and not archived yet. */
export async function nextRange({ api: { core } }: World, organizationId: string): Promise<ArchiveInput> {
  await drainUntilSealed(core, organizationId)
  const head = await core.sealing.store.head(organizationId)
  const [last] = await segmentsOf(core).find({ organizationId }).sort({ from: -1 }).limit(1).toArray()
  if (head === undefined) throw new Error('nothing is sealed')
  return { organizationId, generation: head.generation, from: last?.to ?? 0, to: head.size }
}

/** Moves everything that is sealed to the archive, as the workflow does it. */
export async function archiveAll(world: World, organizationId: string): Promise<void> {
  await archiveRange(archiverOf(world), await nextRange(world, organizationId))
}

/** Where one of the person's values stands: collections, and versions of archive objects. */
export const hitsOf = async ({ api: { core } }: World, organizationId: string): Promise<string[]> => [
  ...(await rawHits(core, organizationId, Object.values(canary))),
  ...(await archiveHits(core, organizationId, Object.values(canary))),
]

/** The same steps over an archive with faults in it. */
export const withArchive =
  ({ api: { core }, config }: World, wrap: Wrap) =>
  (deps: ErasingDependencies): ErasingDependencies => {
    const store = wrap(core.archive)
    const keys = createArchiveKeys(core.signingKeys, config.logOrigin)
    const archived = createArchivedContent({
      client: core.client,
      db: core.db,
      store,
      segments: wrap(createSegmentsStore(core.db)),
      writer: createSegmentWriter({ store, keys, spoolFolder: join(config.dataDirectory, 'spool') }),
      lifecycle: wrap(core.retention.lifecycle),
    })
    const logs = createLogFiles({ folder: join(config.dataDirectory, 'logs'), paths: [] })
    const targets = createTargets(
      core.db,
      { archived, log: deps.log, ledger: deps.ledger },
      logs,
      deps.periods,
    )
    return { ...deps, archived, targets }
  }
