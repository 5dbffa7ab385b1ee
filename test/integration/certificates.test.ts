/** The certificate of an erasure: what it says, that it is issued once, and what reads it. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { erasureCertificateFileSchema } from '../../src/erasure/certificate.js'
import type { ErasureIdentifier } from '../../src/erasure/contract.js'
import { erasingRun } from '../support/erasing.js'
import { certified, completingLater, sevenDays, storeRequest } from '../support/certificates.js'
import { drainUntilSealed } from '../support/sealing.js'
import { openWorld, type World } from '../support/world.js'
import { signCertificate } from '../../src/certificates/sign.js'
import { checkCertificate } from '../../src/verification/certificate-check.js'

let world: World
beforeAll(async () => {
  world = await openWorld()
})
afterAll(async () => {
  await world.close()
})

const person = {
  type: 'user',
  id: 'u_cert-1',
  name: 'Clara Certificate',
  email: 'clara.certificate@acme.example',
}
const identifiers: readonly ErasureIdentifier[] = [
  { kind: 'id', type: 'user', value: person.id },
  { kind: 'email', value: person.email },
  { kind: 'other', value: person.name },
]

async function seed(organizationId: string): Promise<void> {
  const post = async (event: object) => {
    const occurredAt = new Date().toISOString()
    const body = {
      organizationId,
      action: 'document.opened',
      occurredAt,
      actor: person,
      targets: [],
      ...event,
    }
    const answer = await world.request('POST', '/v1/events', { body })
    expect(answer.status, answer.text).toBe(201)
  }
  await post({})
  await post({ action: 'billing.invoice.sent' })
  await post({ actor: { type: 'service', id: 'x' }, description: `for ${person.name}` })
  await drainUntilSealed(world.api.core, organizationId)
}
const fileOf = (text: string) => erasureCertificateFileSchema.parse(JSON.parse(text))

test('it says what was removed and what is kept, with the proofs of both events, and names nobody', async () => {
  const organizationId = 'org_certified'
  await seed(organizationId)
  const exempt = [{ class: 'billing.*', ground: '17(3)(b)' as const }]
  const { request, text } = await certified(world.api.core, organizationId, identifiers, exempt)
  const { certificate } = fileOf(text)
  expect(certificate).toMatchObject({
    id: request.requestId,
    outcome: 'completed_with_exceptions',
    request: { ground: '17(1)(b)', identifiers: { id: 1, email: 1, other: 1 } },
    persons: 1,
    text: { removed: 1, kept: 0 },
    kept: [{ reason: 'exempt', class: 'billing.*', ground: '17(3)(b)', events: 1 }],
    ledger: { sequence: 1 },
    proofs: {
      erasureStarted: { action: 'annals.subject.erasure_started' },
      erased: { action: 'annals.subject.erased' },
    },
  })
  expect(certificate.removed).toContainEqual({ target: 'hot_events', items: 1, atLeast: false })
  expect(certificate.removed).toContainEqual({ target: 'directory', items: 2, atLeast: false })
  expect(certificate.verification.places).toContainEqual(
    expect.objectContaining({ kind: 'collection', name: 'events' }),
  )
  for (const value of [person.id, person.name, person.email, 'sub_']) expect(text).not.toContain(value)
})

test('it is issued once: two at once, and any number of times after, hand out the same bytes', async () => {
  const organizationId = 'org_once'
  await seed(organizationId)
  const { core } = world.api
  const run = erasingRun(core, organizationId, identifiers)
  await run.scope()
  expect(await run.toVerified()).toBe('clean')
  await storeRequest(core, run)
  const completing = completingLater(core)
  const complete = () => completing.complete(run, sevenDays)
  expect(await Promise.all([complete(), complete()])).toEqual([
    { result: 'completed' },
    { result: 'completed' },
  ])
  const first = await core.erasing.certificates.find(run)
  expect(await complete()).toEqual({ result: 'completed' })
  expect((await core.erasing.certificates.find(run))?.bytes).toEqual(first?.bytes)
  expect(first?.version).toBe(1)
})

test('while something remains that is waited for, there is none', async () => {
  const organizationId = 'org_waiting'
  await seed(organizationId)
  const { core } = world.api
  const run = erasingRun(core, organizationId, identifiers)
  await run.scope()
  expect(await run.toVerified()).toBe('clean')
  await storeRequest(core, run)
  const waits = async (more: Parameters<typeof completingLater>[1], days = sevenDays) =>
    (await completingLater(core, more).complete(run, days)).result
  expect(await waits({ periods: { isDeleted: () => Promise.resolve(false) } })).toBe('waiting')
  expect(await waits({ backupDays: 400 })).toBe('waiting')
  expect(await waits({}, () => Promise.resolve(400))).toBe('waiting')
  expect(await core.erasing.certificates.find(run)).toBeUndefined()
  // The one that really runs, on a period key that is there.
  expect(await run.completing.complete(run, sevenDays)).toMatchObject({ result: 'waiting' })
  const path = `/v1/organizations/${organizationId}/erasures/${run.requestId}/certificate`
  const answer = await world.request('GET', path)
  expect([answer.status, answer.body]).toMatchObject([409, { code: 'not_complete' }])
})

test('officers get it as it was issued, or as a page without a script; nobody else gets anything', async () => {
  const organizationId = 'org_handed'
  await seed(organizationId)
  const { request, text } = await certified(world.api.core, organizationId, identifiers)
  const path = `/v1/organizations/${organizationId}/erasures/${request.requestId}/certificate`
  const json = await world.request('GET', path, { headers: { accept: 'application/json' } })
  expect([json.status, json.text]).toEqual([200, text])
  const page = await world.request('GET', path, { headers: { accept: 'text/html,*/*;q=0.8' } })
  expect(page.status).toBe(200)
  expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8')
  expect(page.headers.get('content-security-policy')).toMatch(
    /^default-src 'none'; style-src 'sha256-[^']+';/,
  )
  expect(page.text).toContain('<h1>Certificate of erasure</h1>')
  expect(page.text).not.toMatch(/<script|undefined|\[object|anonymous|GDPR.compliant/i)

  const auditor = await world.key({ role: 'auditor', principal: 'prn_01jd2zq8w9e5cs0v1m6k3n7p4r' })
  expect((await world.request('GET', path, { key: auditor })).status).toBe(403)
  const elsewhere = path.replace(organizationId, 'org_certified')
  expect((await world.request('GET', elsewhere)).status).toBe(404)
  expect((await world.request('GET', path.replace(request.requestId, 'erasure_none'))).status).toBe(404)
})

test('its keys are published to everybody, as lines and as JWKs', async () => {
  const lines = await world.request('GET', '/v1/certificates/keys', { key: '' })
  expect(lines.text).toMatch(/^annals\.local\/certificates\+[0-9a-f]{8}\+\S+\n$/)
  const jwks = await world.request('GET', '/v1/certificates/keys', {
    key: '',
    headers: { accept: 'application/jwk-set+json' },
  })
  expect(jwks.body).toMatchObject({ keys: [{ kty: 'OKP', crv: 'Ed25519', use: 'sig' }] })
  expect(lines.text).toContain((jwks.body as { keys: { kid: string }[] }).keys[0]?.kid)
})

test('it verifies offline, and whatever is altered, taken from another, or signed by nobody is found', async () => {
  const organizationId = 'org_checked'
  await seed(organizationId)
  const { text } = await certified(world.api.core, organizationId, identifiers)
  const other = await certified(world.api.core, 'org_once', identifiers)
  const keysText = (await world.request('GET', '/v1/certificates/keys', { key: '' })).text
  const certificateKeys = keysText.split('\n').filter((line) => line !== '')
  const check = (changed: string) => checkCertificate(changed, { certificateKeys, logKeys: [] })
  const codes = async (changed: unknown) =>
    (await check(JSON.stringify(changed))).findings.map(({ code }) => code)

  const whole = await check(text)
  expect(whole.findings).toEqual([])
  expect(whole.proofs.map(({ name }) => name).sort()).toEqual(['erased', 'erasureStarted'])

  type Json = Record<string, unknown>
  const file = JSON.parse(text) as Json & { certificate: Json; signatures: { protected: string }[] }
  for (const member of Object.keys(file.certificate))
    expect(
      await codes({ ...file, certificate: { ...file.certificate, [member]: 'altered' } }),
      member,
    ).toContain('certificate_differs')
  const signed = JSON.parse(Buffer.from(String(file['payload']), 'base64url').toString('utf8')) as Json
  const payload = Buffer.from(JSON.stringify({ ...signed, persons: 2 })).toString('base64url')
  expect(await codes({ ...file, payload })).toContain('certificate_invalid')
  const foreign = JSON.parse(other.text) as Json
  expect(await codes({ ...file, signatures: foreign['signatures'] })).toContain('certificate_invalid')
  const unsigned = Buffer.from(JSON.stringify({ alg: 'none', typ: 'annals-certificate' })).toString(
    'base64url',
  )
  expect(await codes({ ...file, signatures: [{ protected: unsigned, signature: '' }] })).toContain(
    'certificate_invalid',
  )
  expect(await codes({ ...file, signatures: [] })).toEqual(['certificate_malformed'])
  const log = (await world.request('GET', `/v1/organizations/${organizationId}/log/keys`)).text.trim()
  await expect(checkCertificate(text, { certificateKeys: [log], logKeys: [] })).rejects.toThrow(/purpose/)
})

test('what a key of the issuer signs is still held to the log: other events, other principals, other manifests', async () => {
  const { text } = await certified(world.api.core, 'org_checked', identifiers)
  const { core } = world.api
  const signers = await core.certificateKeys.signers()
  const certificateKeys = (await world.request('GET', '/v1/certificates/keys', { key: '' })).text
    .split('\n')
    .filter((line) => line !== '')
  type Body = Parameters<typeof signCertificate>[0]
  const signed = (JSON.parse(text) as { certificate: Body }).certificate
  const codes = async (change: object, by = signers) => {
    const file = (await signCertificate({ ...signed, ...change }, by)).toString('utf8')
    const { findings } = await checkCertificate(file, { certificateKeys, logKeys: [] })
    return findings.map(({ code, at }) => `${code} ${at}`)
  }
  expect(await codes({})).toEqual([])
  const { principals, manifests, proofs } = signed as unknown as {
    principals: { submitter: string; approver: string }
    manifests: { subjects: string; text: string }
    proofs: { erased: object; erasureStarted: object }
  }
  expect(await codes({ persons: 2 })).toEqual(['certificate_differs persons'])
  const swapped = { submitter: principals.approver, approver: principals.submitter }
  expect(await codes({ principals: swapped })).toContain('certificate_differs principals.submitter')
  expect(await codes({ manifests: { ...manifests, text: manifests.subjects } })).toEqual([
    'certificate_differs manifests.text',
  ])
  expect(await codes({ id: 'erasure_01jd2zq8w9e5cs0v1m6k3n7p4r' })).toContain('certificate_differs id')
  // One proof in the place of the other, and those of another organization.
  expect(await codes({ proofs: { ...proofs, erased: proofs.erasureStarted } })).toContain(
    'certificate_differs proofs.erased.action',
  )
  expect(await codes({ organizationId: 'org_certified' })).toContain(
    'checkpoint_foreign proofs.erased.log.origin',
  )
  expect(await codes({ issuer: 'annals.elsewhere' })).toContain('certificate_foreign issuer')
  // Signed by another name's key, and around a rotation by a key that nobody gave beside one that is known.
  const renamed = signers.map((signer) => ({
    ...signer,
    kid: signer.kid.replace('/certificates+', '/archive+'),
  }))
  expect(await codes({}, renamed)).toEqual(['certificate_foreign signatures'])
  expect(await codes({}, [...renamed, ...signers])).toEqual([])
})
