/**
 * `annals verify ARCHIVE` and a person who was erased from it: `erased` at once, by the proof of the sealed event in the ledger,
 * although the event itself is archived months later; and every way to forge such a proof is found.
 */
import { createHash } from 'node:crypto'
import { readdir, readFile, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createArchiveKeys } from '../../src/archive/segment-keys.js'
import { createSegmentWriter } from '../../src/archive/segment-writer.js'
import { createSealedProofs } from '../../src/erasure/sealed-proof.js'
import { rebuildCommitments } from '../../src/events/rebuild.js'
import { eventIdOf, type StoredEvent } from '../../src/events/store.js'
import { newId, newReference } from '../../src/ids.js'
import { rotateSigningKey } from '../../src/operations/rotate-signing-key.js'
import { redactionManifest } from '../../src/redaction/manifest.js'
import { formatVerifierKey } from '../../src/transparency-log/note-key.js'
import { verifyArchive } from '../../src/verification/archive-run.js'
import { archiveAll, canaryIdentifiers, post, spread } from '../support/archived-person.js'
import { segmentsOf } from '../support/archiving.js'
import { erasingRun } from '../support/erasing.js'
import { drainUntilSealed } from '../support/sealing.js'
import { openWorld, type World } from '../support/world.js'

let world: World
beforeAll(async () => {
  world = await openWorld()
})
afterAll(async () => {
  await world.close()
})

async function verified(organizationId: string, logKeys: readonly string[] = []) {
  const { archive, ledger } = world.api.core
  const options = { archiveKeys: [], logKeys, values: true, organizationId }
  const { report } = await verifyArchive({ segments: archive, ledger }, options)
  return { codes: new Set(report.findings.map(({ code }) => code)), fields: report.fields }
}

const folderOf = (organizationId: string) => {
  if (world.config.ledger.kind !== 'folder') throw new Error('the ledger of a test is a folder')
  return join(world.config.ledger.folder, organizationId, 'erasures')
}

async function proofsOf(organizationId: string) {
  const folder = folderOf(organizationId)
  const names = (await readdir(folder)).filter((name) => name.endsWith('.proof')).sort()
  return Promise.all(
    names.map(async (name) => ({
      path: join(folder, name),
      proof: JSON.parse(await readFile(join(folder, name), 'utf8')) as Proof,
    })),
  )
}

interface Proof {
  kind: string
  event: { event: { fields: { slot: string; value: string }[] }; [member: string]: unknown }
}

const rewrite = async (path: string, proof: unknown) => {
  await unlink(path)
  await writeFile(path, JSON.stringify(proof))
}

/** An organization whose person was archived and is erased. @returns what was erased of the archive */
async function erased(organizationId: string): Promise<void> {
  await spread(world, organizationId)
  await archiveAll(world, organizationId)
  const run = erasingRun(world.api.core, organizationId, canaryIdentifiers)
  await run.scope()
  expect(await run.toVerified()).toBe('clean')
}

test('what was erased of an archive is `erased` at once, before the event that says so is archived, and after', async () => {
  const organizationId = 'org_at_once'
  await erased(organizationId)
  expect(await proofsOf(organizationId)).toHaveLength(2)
  const atOnce = await verified(organizationId)
  expect(atOnce).toMatchObject({ codes: new Set(), fields: { missing: 0 } })
  expect(atOnce.fields.erased).toBeGreaterThan(5)
  await archiveAll(world, organizationId)
  expect((await verified(organizationId)).fields).toMatchObject({ erased: atOnce.fields.erased, missing: 0 })
})

test('a redaction of what is archived is accounted for by its proof, too', async () => {
  const organizationId = 'org_redacted'
  const { id } = await post(world, organizationId, { description: 'a secret' })
  await archiveAll(world, organizationId)
  const { redactor, store } = world.api.core.redactions
  const base = `/v1/organizations/${organizationId}/redactions`
  const officer = (principal: string) =>
    world.key({ role: 'privacy_officer', principal, organizations: [organizationId] })
  const asked = await world.request('POST', base, {
    body: { fields: [{ eventId: id, slot: 'description' }], reason: 'case 9' },
    key: await officer('prn_01jd2zq8w9e5cs0v1m6k3n7p4r'),
  })
  const reference = { organizationId, redactionId: (asked.body as { id: string }).id }
  const approval = { approver: 'prn_01jd2zq8w9e5cs0v1m6k3n7p4s', approvedAt: new Date() }
  await store.change(reference, ['requested'], { state: 'approved', ...approval })
  const nothing = () => undefined
  await redactor.prepare(reference, nothing)
  await redactor.decide(reference)
  await redactor.remove(reference, nothing)
  expect(await verified(organizationId)).toMatchObject({
    codes: new Set(),
    fields: { erased: 1, missing: 0 },
  })
})

interface Forgery {
  /** Changes the proofs of one's own, or takes those of another organization. */
  readonly forge: (
    organizationId: string,
    proofs: readonly { readonly path: string; readonly proof: Proof }[],
  ) => Promise<void>
}

const everyOne =
  (change: (proof: Proof) => unknown): Forgery['forge'] =>
  async (_organizationId, proofs) => {
    for (const { path, proof } of proofs) await rewrite(path, change(proof))
  }

const sha256 = (bytes: string) => createHash('sha256').update(bytes).digest('hex')

const forgeries: Record<string, Forgery['forge']> = {
  'a proof that was taken away': async (_organizationId, proofs) => {
    for (const { path } of proofs) await unlink(path)
  },
  'a proof whose event names another manifest, which lies beside it': async (organizationId, proofs) => {
    for (const { path, proof } of proofs) {
      const manifest = path.replace(/\.proof$/, '.json')
      const bytes = `${await readFile(manifest, 'utf8')} `
      await unlink(manifest)
      await writeFile(manifest, bytes)
      const { fields } = proof.event.event
      for (const field of fields)
        if (field.value.startsWith('["manifest"')) field.value = JSON.stringify(['manifest', sha256(bytes)])
      await rewrite(path, proof)
    }
    expect(organizationId).not.toBe('')
  },
  'a manifest that names more than was sealed': async (_organizationId, proofs) => {
    for (const { path } of proofs) {
      const manifest = path.replace(/\.proof$/, '.json')
      const bytes = await readFile(manifest, 'utf8')
      await unlink(manifest)
      await writeFile(manifest, bytes.replace('"v":1', '"v":1,"more":[]'))
    }
  },
  'a proof of another leaf': everyOne((proof) => ({
    ...proof,
    event: { ...proof.event, index: Number(proof.event['index']) + 1 },
  })),
  'a proof with another checkpoint’s signature': everyOne((proof) => ({
    ...proof,
    event: { ...proof.event, checkpoint: String(proof.event['checkpoint']).replace(/.{8}\n$/, 'AAAAAAA=\n') },
  })),
  'a proof without its event': everyOne(({ event: { event: _event, ...event }, ...proof }) => ({
    ...proof,
    event,
  })),
  'a proof that is no JSON': async (_organizationId, proofs) => {
    for (const { path } of proofs) {
      await unlink(path)
      await writeFile(path, '{"v":1')
    }
  },
  'the proofs of another organization': async (_organizationId, proofs) => {
    const others = await proofsOf('org_at_once')
    for (const [at, { path }] of proofs.entries()) await rewrite(path, others[at]?.proof)
  },
  'a proof of an event that says nothing of an erasure': async (organizationId, proofs) => {
    const { core } = world.api
    const { id } = await post(world, organizationId, { description: 'nothing' })
    await drainUntilSealed(core, organizationId)
    for (const { path } of proofs) await unlink(path)
    const proving = { store: core.ledger, log: core.logReading.log, finder: core.finder }
    for (const { path } of proofs) {
      const name = path.split('/').at(-1)?.replace('.proof', '.json') ?? ''
      await createSealedProofs(proving).put(organizationId, `${organizationId}/erasures/${name}`, id)
    }
  },
}

test.each(Object.entries(forgeries))(
  '%s accounts for nothing: what is gone is missing',
  async (name, forge) => {
    const organizationId = `org_forged_${String(Object.keys(forgeries).indexOf(name))}`
    await erased(organizationId)
    await forge(organizationId, await proofsOf(organizationId))
    const { codes, fields } = await verified(organizationId)
    expect(codes).toEqual(new Set(['field_missing']))
    expect(fields.erased).toBe(0)
    expect(fields.missing).toBeGreaterThan(5)
  },
)

test('what is erased after the log’s key was rotated is `erased` as soon as anything archived since names the new key', async () => {
  const [organizationId, other] = ['org_rotated', 'org_zzz']
  const { core } = world.api
  const { archive, ledger } = core
  await spread(world, organizationId)
  await archiveAll(world, organizationId)
  await rotateSigningKey(core, { purpose: 'checkpoint', overlapMs: 0 })
  const run = erasingRun(core, organizationId, canaryIdentifiers)
  await run.scope()
  expect(await run.toVerified()).toBe('clean')
  const missing = async () => {
    const options = { archiveKeys: [], logKeys: [], values: true }
    const { report } = await verifyArchive({ segments: archive, ledger }, options)
    return report.findings.filter(({ at }) => at.startsWith(`${organizationId} `))
  }
  expect(await missing()).not.toEqual([])
  const logKeys = await core.sealing.keys.verifierKeys(core.sealing.keys.origin(organizationId, 1))
  expect(await verified(organizationId, logKeys.map(formatVerifierKey))).toMatchObject({
    fields: { missing: 0 },
  })
  await post(world, other, { description: 'of another customer' })
  await archiveAll(world, other)
  expect(await missing()).toEqual([])
})

test('a proof of an event that stands before a value accounts for nothing of it', async () => {
  const organizationId = 'org_before'
  const { core } = world.api
  await post(world, organizationId, { description: 'the first' })
  const eventId = newId('evt')
  const reference = { organizationId, redactionId: newId('redaction') }
  const manifest = redactionManifest(reference, [
    { eventId, slot: 'description', commitment: Buffer.alloc(32) },
  ])
  const { id: said } = await core.systemEvents.write({
    organizationId,
    action: 'annals.field.redacted',
    occurredAt: new Date(),
    actor: { type: 'system', id: 'annals' },
    metadata: {
      manifest: manifest.sha256,
      submitter: newReference('prn'),
      approver: newReference('prn'),
      fields: 1,
    },
  })
  await drainUntilSealed(core, organizationId)
  await post(world, organizationId, { id: eventId, description: 'what somebody wants gone' })
  await archiveAll(world, organizationId)
  const proving = { store: core.ledger, log: core.logReading.log, finder: core.finder }
  await core.ledger.put(manifest.path, () => Readable.from([manifest.bytes]), {
    sha256: Buffer.from(manifest.sha256, 'hex'),
    bytes: manifest.bytes.length,
  })
  await createSealedProofs(proving).put(organizationId, manifest.path, said)
  expect(await verified(organizationId)).toMatchObject({ codes: new Set(), fields: { missing: 0 } })

  const [segment] = await segmentsOf(core).find({ organizationId }).toArray()
  if (segment?.content === null || segment === undefined) throw new Error('there is no segment')
  const keys = createArchiveKeys(core.signingKeys, world.config.logOrigin)
  const spoolFolder = join(world.config.dataDirectory, 'spool')
  const writer = createSegmentWriter({ store: core.archive, keys, spoolFolder })
  const { content } = await writer.rewriteContent({ ...segment, content: segment.content }, (leaves) =>
    leaves.map(({ event }) => (eventIdOf(event._id) === eventId ? withoutDescription(event) : event)),
  )
  await writer.deleteOtherContent(segment, content.revision)
  expect(await verified(organizationId)).toMatchObject({
    codes: new Set(['field_missing']),
    fields: { erased: 0, missing: 1 },
  })
})

function withoutDescription(event: StoredEvent): StoredEvent {
  const commitment = rebuildCommitments(event)?.find(({ slot }) => slot === 'description')?.commitment
  if (commitment === undefined) throw new Error('an event without its description')
  const fields = event.fields.map((field) =>
    'slot' in field && field.slot === 'description' ? { slot: field.slot, commitment } : field,
  )
  return { ...event, fields }
}
