/** What a hold had kept of an erased person goes when the hold ends: hot and archived, with every call broken once. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { BSON } from 'mongodb'
import { erasureCertificateFileSchema } from '../../src/erasure/certificate.js'
import { signCertificate } from '../../src/certificates/sign.js'
import { createReleasing, type ReleasingDependencies } from '../../src/erasure/releasing.js'
import { checkCertificate } from '../../src/verification/certificate-check.js'
import { receiptOfJson } from '../../src/verification/receipt-check.js'
import { verifyReceipt, verifyServer } from '../../src/verification/run.js'
import {
  archiveAll,
  canary,
  canaryIdentifiers,
  person,
  post,
  somebodyElse,
} from '../support/archived-person.js'
import { completingLater, releasingLater, sevenDays, storeRequest } from '../support/certificates.js'
import { archiveHits, rawHits } from '../support/erasure-oracle.js'
import { erasingRun, type ErasingRun } from '../support/erasing.js'
import { failing, Injected, type Fault } from '../support/failing.js'
import { drainUntilSealed } from '../support/sealing.js'
import { openWorld, type World } from '../support/world.js'

let world: World
beforeAll(async () => {
  world = await openWorld()
})
afterAll(async () => {
  await world.close()
})

const nothing = () => undefined
const author = { principal: 'prn_01jd2zq8w9e5cs0v1m6k3n7p4r', requestId: 'req_test' }
const holdOn = async (organizationId: string, action: string) => {
  const wanted = { scope: { action }, reason: 'case 17' }
  return (await world.api.core.retention.holds.place(organizationId, wanted, author)).hold.id
}

interface Held {
  readonly run: ErasingRun
  readonly hold: string
  /** Of the hot event, the archived ones, and the event that is exempt. */
  readonly ids: readonly string[]
  readonly exempt: string | undefined
}

/** A person who is erased but for what a hold keeps: a block and text in the archive, a block in the hot store. */
async function held(organizationId: string, withExempt = true): Promise<Held> {
  const { core } = world.api
  const archived = await post(world, organizationId, { action: 'team.joined', actor: person })
  const text = await post(world, organizationId, {
    action: 'team.joined',
    actor: somebodyElse,
    description: `beside ${canary.name}`,
  })
  await archiveAll(world, organizationId)
  const hot = await post(world, organizationId, { action: 'team.left', actor: person })
  const exempt = withExempt
    ? await post(world, organizationId, { action: 'billing.paid', actor: person })
    : undefined
  await post(world, organizationId, { action: 'document.opened', actor: person })
  await drainUntilSealed(core, organizationId)
  const hold = await holdOn(organizationId, 'team.*')
  const run = erasingRun(core, organizationId, canaryIdentifiers, {
    exempt: [{ class: 'billing.*', ground: '17(3)(b)' }],
  })
  await run.scope()
  expect(await run.toVerified()).toBe('clean')
  await storeRequest(core, run)
  expect((await completingLater(core).complete(run, sevenDays)).result).toBe('completed_with_exceptions')
  await core.db
    .collection('erasureRequests')
    .updateOne({ requestId: run.requestId }, { $set: { state: 'completed_with_exceptions' } })
  return { run, hold, ids: [hot.id, archived.id, text.id], exempt: exempt?.id }
}

const releasingDeps = () => releasingLater(world.api.core)

const withFault = (fault: Fault): ReleasingDependencies => {
  const deps = releasingDeps()
  return {
    ...deps,
    ledger: failing(deps.ledger, ['putManifest'], fault),
    progress: failing(deps.progress, ['set', 'beginRelease', 'setRelease', 'destroyRestrictedKey'], fault),
    journal: failing(deps.journal, ['note'], fault),
    systemEvents: failing(deps.systemEvents, ['write'], fault),
    proofs: failing(deps.proofs, ['put'], fault),
    archived: failing(deps.archived, ['closeBehind', 'change', 'deleteStale'], fault),
    completing: failing(deps.completing, ['certifyRelease'], fault),
  }
}

const release = (deps: ReleasingDependencies, run: ErasingRun) =>
  createReleasing(deps).release(run, sevenDays, nothing)
const endHold = (organizationId: string, hold: string) =>
  world.api.core.retention.holds.release(organizationId, hold, author)

/** Rows and lines that are kept under the key of a request, wherever they are. */
async function keptUnder(organizationId: string, requestId: string): Promise<number> {
  let kept = 0
  for (const name of ['events', 'restoredEvents'])
    for await (const row of world.api.core.db.collection(name).find({ organizationId }))
      if (
        Buffer.from(BSON.serialize(row)).includes(requestId) &&
        row['action'] !== 'annals.erasure.completed'
      )
        kept += (row['fields'] as { restricted?: string }[]).filter(
          ({ restricted }) => restricted === requestId,
        ).length
  return kept + (await archiveHits(world.api.core, organizationId, [`"restricted":"${requestId}"`])).length
}

/** Nothing is missing that no sealed event accounts for; and nothing has gone before that is in the journal. */
async function checkRelease({ run, ids }: Held): Promise<void> {
  const { organizationId } = run
  await drainUntilSealed(world.api.core, organizationId)
  const options = {
    url: world.url,
    key: world.ownerKey,
    organization: organizationId,
    logKeys: [],
    values: true,
  }
  const { report, keys } = await verifyServer(options)
  expect(report.findings).toEqual([])
  // A receipt alone says as much of each event.
  for (const id of ids) {
    const path = `/v1/organizations/${organizationId}/events/${id}/proof?view=verifiable`
    const receipt = await world.request('GET', path, { headers: { accept: 'application/json' } })
    expect(verifyReceipt(receiptOfJson(receipt.body), keys).findings).toEqual([])
  }
}

const certificatesOf = async ({ run }: Held) => {
  const newest = await world.api.core.erasing.certificates.find(run)
  if (newest === undefined) throw new Error('no certificate was issued')
  return erasureCertificateFileSchema.parse(JSON.parse(newest.bytes.toString('utf8'))).certificate
}

test('whatever call fails, all that goes is accounted for, and the next attempt ends it', async () => {
  const { core } = world.api
  let failures = 0
  for (const when of ['before', 'after'] as const) {
    // Before a call is after the one before it.
    for (let at = when === 'after' ? 1 : 2; ; at += when === 'after' ? 1 : 4) {
      const organizationId = `org_release_${when}_${String(at)}`
      const one = await held(organizationId)
      const { run, hold, exempt } = one
      expect(await release(releasingDeps(), run)).toEqual({ result: 'nothing' })
      expect(await core.erasing.deps.progress.read(run)).toMatchObject({ held: 3 })
      await endHold(organizationId, hold)
      const fault: Fault = { calls: 0, at, when }
      await release(withFault(fault), run).catch((error: unknown) => {
        if (!(error instanceof Injected)) throw error
        failures += 1
      })
      await checkRelease(one)
      const ended = await release(releasingDeps(), run)
      expect(['certified', 'nothing']).toContain(ended.result)
      await checkRelease(one)
      // Of the exempt event alone something is left; text and blocks are gone, also from the archive.
      expect(await keptUnder(organizationId, run.requestId)).toBe(1)
      expect(await rawHits(core, organizationId, [canary.name])).toEqual([])
      expect(await archiveHits(core, organizationId, [canary.name])).toEqual([])
      const shown = await world.request('GET', `/v1/organizations/${organizationId}/events/${exempt ?? ''}`)
      expect(shown.body).toMatchObject({ actor: { restricted: true } })
      expect(await certificatesOf(one)).toMatchObject({
        version: 2,
        outcome: 'completed_with_exceptions',
        kept: [{ reason: 'exempt', events: 1 }],
        releases: [{ events: 3, fields: 3 }],
      })
      const said = await core.events
        .find({ organizationId, action: { $in: ['annals.subject.erased', 'annals.erasure.completed'] } })
        .toArray()
      // Once for the erasure and once for the release; and once for the further certificate.
      expect(said.map(({ action }) => action).sort()).toEqual([
        'annals.erasure.completed',
        'annals.subject.erased',
        'annals.subject.erased',
      ])
      if (fault.calls < at) break
    }
  }
  expect(failures).toBeGreaterThan(12)
}, 300_000)

test('with the last of it the key goes, and the further certificate has no exception any more', async () => {
  const { core } = world.api
  const organizationId = 'org_release_last'
  const one = await held(organizationId, false)
  const { run, hold } = one
  await endHold(organizationId, hold)
  expect(await release(releasingDeps(), run)).toEqual({
    result: 'certified',
    version: 2,
    outcome: 'completed',
  })
  const progress = await core.erasing.deps.progress.read(run)
  expect(progress.restrictedKey).toBeUndefined()
  expect(progress.keyPeriods).toEqual([1])
  expect(await keptUnder(organizationId, run.requestId)).toBe(0)
  const certificate = await certificatesOf(one)
  expect(certificate).toMatchObject({ version: 2, outcome: 'completed', kept: [] })
  expect(certificate.remains.map(({ what }) => what)).not.toContain('request_key')
  const certificateKeys = (await world.request('GET', '/v1/certificates/keys', { key: '' })).text
    .split('\n')
    .filter((line) => line !== '')
  const signers = await core.certificateKeys.signers()
  const findingsOf = async (releases: typeof certificate.releases) => {
    const file = (await signCertificate({ ...certificate, releases }, signers)).toString('utf8')
    const { findings } = await checkCertificate(file, { certificateKeys, logKeys: [] })
    return findings.map(({ code, at }) => `${code} ${at}`)
  }
  const gone = certificate.releases
  expect(await findingsOf(gone)).toEqual([])
  // What is said to have gone stands in a sealed event, too.
  expect(await findingsOf(gone.map((one) => ({ ...one, manifest: certificate.manifests.text })))).toEqual([
    'certificate_differs releases[0].manifest',
  ])
  expect(await findingsOf(gone.map((one) => ({ ...one, proof: 'released2' })))).toEqual([
    'certificate_malformed proofs.released2',
  ])
  await checkRelease(one)
  expect(await release(releasingDeps(), run)).toEqual({ result: 'nothing' })
  expect(await createReleasing(releasingDeps()).keeping(organizationId, '')).toEqual([])
})

test('what goes after the first certificate was made, and before the request says so, is certified like the rest', async () => {
  const { core } = world.api
  const organizationId = 'org_release_between'
  const one = await held(organizationId, false)
  const { run, hold } = one
  const inState = (state: string) =>
    core.db.collection('erasureRequests').updateOne({ requestId: run.requestId }, { $set: { state } })
  // As a process leaves it that dies between the two.
  await inState('awaiting_expiry')
  await endHold(organizationId, hold)
  expect(await release(releasingDeps(), run)).toEqual({ result: 'released' })
  expect((await completingLater(core).complete(run, sevenDays)).result).toBe('completed_with_exceptions')
  await inState('completed_with_exceptions')
  expect(await createReleasing(releasingDeps()).keeping(organizationId, '')).toHaveLength(1)
  expect((await release(releasingDeps(), run)).result).toBe('certified')
  expect(await certificatesOf(one)).toMatchObject({
    version: 2,
    outcome: 'completed',
    releases: [{ events: 3 }],
  })
})

test('a hold that is placed while it is looked keeps what it covers, and nothing goes that is not said', async () => {
  const { core } = world.api
  const organizationId = 'org_release_race'
  const { run, hold, ids } = await held(organizationId)
  await endHold(organizationId, hold)
  const deps = releasingDeps()
  let placed = ''
  const racing = {
    ...deps,
    ledger: {
      ...deps.ledger,
      async putManifest(manifest: Parameters<typeof deps.ledger.putManifest>[0]) {
        if (placed === '') placed = await holdOn(organizationId, 'team.left')
        await deps.ledger.putManifest(manifest)
      },
    },
  }
  expect((await release(racing, run)).result).toBe('certified')
  const [hot = '', archived = ''] = ids
  const actorOf = async (id: string) =>
    (
      (await world.request('GET', `/v1/organizations/${organizationId}/events/${id}`)).body as {
        actor: unknown
      }
    ).actor
  expect(await actorOf(hot)).toMatchObject({ restricted: true })
  expect(await actorOf(archived)).toMatchObject({ erased: true })
  // It goes with that one, in a release of its own.
  await endHold(organizationId, placed)
  expect(await release(releasingDeps(), run)).toMatchObject({ result: 'certified', version: 3 })
  expect(await actorOf(hot)).toMatchObject({ erased: true })
  expect((await core.erasing.deps.progress.read(run)).releases).toHaveLength(2)
})
