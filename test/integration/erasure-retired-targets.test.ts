/** Targets that were there when a request was scoped and are not any more: in the erasing's own steps. */
import { rename } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { failureOf } from '../../activities/erasing.js'
import { erasureCertificateFileSchema } from '../../src/erasure/certificate.js'
import type { Attestation } from '../../src/erasure/contract.js'
import type { ErasingDependencies } from '../../src/erasure/erasing.js'
import type { ErasureTarget } from '../../src/erasure/targets/contract.js'
import { newReference } from '../../src/ids.js'
import {
  archiveAll,
  canary,
  canaryIdentifiers,
  hitsOf,
  person,
  post,
  spread,
} from '../support/archived-person.js'
import { completingLater, sevenDays, storeRequest } from '../support/certificates.js'
import { erasingRun, type ErasingRun, type ErasingRunOptions } from '../support/erasing.js'
import { openWorld, type World } from '../support/world.js'

let world: World
beforeAll(async () => {
  world = await openWorld({ unsearchable: 'the archive is away while one is looked for' })
})
afterAll(async () => {
  await world.close()
})

const nothing = () => undefined
const mirror: ErasureTarget = {
  name: 'crm_mirror',
  collections: [],
  scope: () => Promise.resolve(3),
  erase: () => Promise.resolve(3),
  verify: () => Promise.resolve(0),
}
const retired = (target: string): Attestation => ({
  target,
  principal: newReference('prn'),
  at: new Date(),
  outcome: 'destroyed',
  reason: 'disks shredded, protocol 7 of the data centre',
})

/** Steps over a registry that a test takes a target out of, and puts it back into, while they run. */
function changing(organizationId: string, options: ErasingRunOptions = {}) {
  const targets = [mirror]
  const deps = (given: ErasingDependencies): ErasingDependencies => {
    targets.push(...given.targets)
    return { ...given, targets }
  }
  return {
    run: erasingRun(world.api.core, organizationId, canaryIdentifiers, { ...options, deps }),
    takeAway: () => void targets.splice(targets.indexOf(mirror), 1),
    putBack: () => void targets.push(mirror),
  }
}

const failed = async (work: Promise<unknown>) =>
  failureOf(
    await work.then(
      () => 'it went on',
      (error: unknown) => error,
    ),
  )

const stateOf = async (organizationId: string) =>
  (await world.api.core.db.collection('subjects').findOne({ organizationId }))?.['state'] as unknown

const readingOf = async (run: ErasingRun) => (await run.deps.progress.read(run)).reading

const removed = { reason: 'target_removed', passing: false, targets: ['crm_mirror'] }

test('a target that was removed since the scoping stops the request before anybody is fenced, until it is retired', async () => {
  const attestations: Attestation[] = []
  const { run, takeAway } = changing('org_removed', { attestations })
  await post(world, 'org_removed', { actor: person })
  await run.scope()
  expect(run.report().targets).toContainEqual({ target: 'crm_mirror', status: 'counted', items: 3, held: 0 })
  takeAway()
  expect(await failed(run.erasing.fence(run, nothing))).toEqual(removed)
  expect(await stateOf('org_removed')).toBe('active')

  attestations.push(retired('crm_mirror'))
  expect(await run.toVerified()).toBe('clean')
  const reading = await readingOf(run)
  expect(reading?.retired).toEqual(['crm_mirror'])
  expect(reading?.places.map(({ name }) => name)).not.toContain('crm_mirror')

  // Nobody verified that place: the certificate says so, and who says what of it.
  const { core } = world.api
  const siem = { target: 'siem', principal: newReference('prn'), at: new Date() }
  await storeRequest(core, run, { attestations: [...attestations, siem] })
  expect(await completingLater(core).complete(run, sevenDays)).toEqual({
    result: 'completed_with_exceptions',
  })
  const stored = await core.erasing.certificates.find(run)
  const { certificate } = erasureCertificateFileSchema.parse(JSON.parse(stored?.bytes.toString('utf8') ?? ''))
  const [{ principal, at, ...said } = retired('')] = attestations
  expect(certificate.verification).toMatchObject({
    attested: [{ target: 'siem', by: siem.principal }],
    retired: [{ ...said, by: principal, at: at.toISOString() }],
    credentials: 'shared',
  })
  await core.db
    .collection('erasureRequests')
    .updateOne({ requestId: run.requestId }, { $set: { state: 'completed_with_exceptions' } })
  const page = await world.request(
    'GET',
    `/v1/organizations/org_removed/erasures/${run.requestId}/certificate`,
    {
      headers: { accept: 'text/html' },
    },
  )
  expect(page.text).toContain('disks shredded, protocol 7')
})

test('one that is removed when everything is erased keeps the request from being verified, by its name', async () => {
  const { run, takeAway, putBack } = changing('org_removed_late')
  await post(world, 'org_removed_late', { actor: person })
  await run.scope()
  await run.erasing.fence(run, nothing)
  await run.erasing.prepare(run, nothing)
  await run.erasing.erase(run, nothing)
  takeAway()
  expect(await failed(run.erasing.verify(run, nothing))).toEqual(removed)
  expect(await readingOf(run)).toBeUndefined()
  putBack()
  expect(await run.erasing.verify(run, nothing)).toEqual({ result: 'clean' })
  expect((await readingOf(run))?.retired).toEqual([])
})

test('a request that is scoped again still asks for what an earlier scoping pinned, and is no match without it', async () => {
  const attestations: Attestation[] = []
  const { run, takeAway } = changing('org_nobody', { attestations })
  await post(world, 'org_nobody', { description: 'of nobody' })
  await run.scope()
  takeAway()
  expect(await failed(run.scope())).toEqual(removed)
  attestations.push(retired('crm_mirror'))
  expect(await run.scope()).toBe('no_match')
  expect(run.report().targets).toContainEqual({ target: 'crm_mirror', status: 'retired', items: 0, held: 0 })
})

test('an archive that is gone for good is retired: all the rest is erased and verified, and it is said apart', async () => {
  const organizationId = 'org_archive_gone'
  await spread(world, organizationId)
  await archiveAll(world, organizationId)
  await post(world, organizationId, { actor: person })
  const attestations: Attestation[] = []
  const run = erasingRun(world.api.core, organizationId, canaryIdentifiers, { attestations })
  await run.scope()
  await away()
  try {
    expect(await failed(run.erasing.fence(run, nothing))).toMatchObject({
      reason: 'archive_unavailable',
      targets: ['archive_content'],
    })
    attestations.push(retired('archive_content'))
    expect(await run.toVerified()).toBe('clean')
    const reading = await readingOf(run)
    expect(reading?.retired).toEqual(['archive_content'])
    expect(reading?.places.map(({ name }) => name)).not.toContain('archive_content')
    for (const subject of run.report().subjects)
      expect(
        await world.api.core.db
          .collection('subjects')
          .findOne({ _id: `${organizationId}/${subject}` as never }),
      ).toMatchObject({ state: 'erased' })
  } finally {
    await back()
  }
})

test('a retired archive that is there again is erased and verified like any other', async () => {
  const organizationId = 'org_archive_back'
  await spread(world, organizationId)
  await archiveAll(world, organizationId)
  const attestations = [retired('archive_content')]
  const run = erasingRun(world.api.core, organizationId, canaryIdentifiers, { attestations })
  await run.scope()
  expect(await run.toVerified()).toBe('clean')
  expect((await readingOf(run))?.retired).toEqual([])
  expect(await hitsOf(world, organizationId)).toEqual([])
})

test('one that comes back with the person in it blocks: what was said of it was not so', async () => {
  const organizationId = 'org_archive_lied'
  await spread(world, organizationId)
  await archiveAll(world, organizationId)
  const attestations = [retired('archive_content')]
  const run = erasingRun(world.api.core, organizationId, canaryIdentifiers, { attestations })
  await run.scope()
  await away()
  try {
    await run.erasing.fence(run, nothing)
    await run.erasing.prepare(run, nothing)
    await run.erasing.erase(run, nothing)
  } finally {
    await back()
  }
  expect(await run.erasing.verify(run, nothing)).toEqual({ result: 'residue', targets: ['archive_content'] })
})

test('histories that Temporal does not give are retired likewise, and read whenever it does', async () => {
  const organizationId = 'org_histories'
  await post(world, organizationId, { actor: person })
  const attestations: Attestation[] = []
  const run = erasingRun(world.api.core, organizationId, canaryIdentifiers, { attestations })
  await run.scope()
  expect(await run.toVerified()).toBe('clean')
  let away = true
  const runs = () => {
    if (away) throw Object.assign(new Error('down'), { code: 14, details: 'down', metadata: {} })
    const shown = { startedAt: new Date(0), shown: canary.email, history: () => Promise.resolve('') }
    return Readable.from([shown])
  }
  const verify = () => run.erasing.verify(run, nothing, runs)
  expect(await failed(verify())).toMatchObject({ targets: ['workflow_histories'] })
  attestations.push(retired('workflow_histories'))
  expect(await verify()).toEqual({ result: 'clean' })
  away = false
  expect(await verify()).toEqual({ result: 'residue', targets: ['visibility'] })
})

const folder = () => `${world.config.dataDirectory}/archive/segments`
const away = () => rename(folder(), `${folder()}.away`)
const back = () => rename(`${folder()}.away`, folder())
