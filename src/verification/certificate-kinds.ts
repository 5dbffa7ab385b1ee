/**
 * What certificates of each kind say, held against the values of the sealed events that they prove (certificate-check.ts
 * has checked these, and that the values make their leaves).
 */
import { hash } from 'node:crypto'
import { z } from 'zod'
import { openCheckpoint } from '../transparency-log/checkpoint.js'
import { LogError } from '../transparency-log/errors.js'
import { nodeNoteCrypto } from '../transparency-log/node-crypto.js'
import type { Finding } from './contract.js'
import { erasureOf } from './erasures.js'
import { TrustError } from './errors.js'
import { membersOf, metadataOf, valueOf } from './event-values.js'
import { trustedLog } from './trust.js'

export const proofSchema = z.object({
  eventId: z.string(),
  action: z.string(),
  log: z.object({ origin: z.string(), keys: z.array(z.string()).min(1).max(100) }),
  receipt: z.string(),
  record: z.string(),
  event: z.record(z.string(), z.unknown()),
})
export type CertificateProof = z.infer<typeof proofSchema>

const erasureSchema = z.object({
  kind: z.literal('annals/erasure/certificate'),
  persons: z.int(),
  principals: z.object({ submitter: z.string(), approver: z.string() }),
  manifests: z.object({ subjects: z.string(), text: z.string() }),
  releases: z
    .array(z.object({ manifest: z.string(), proof: z.string() }))
    .max(1_000)
    .default([]),
  proofs: z.object({ erasureStarted: proofSchema, erased: proofSchema }).catchall(proofSchema),
})

export const offboardingKind = 'annals/offboarding/certificate'
export const systemOrganization = '_annals'
const offboardingSchema = z.object({
  principals: z.object({ submitter: z.string(), approver: z.string() }),
  final: z
    .object({
      generation: z.int(),
      size: z.int(),
      root: z.string(),
      checkpointSha256: z.string(),
      checkpoint: z.string(),
      keys: z.array(z.string()).min(1).max(100),
    })
    .nullable(),
  proofs: z.object({ started: proofSchema, offboarded: proofSchema }),
})

/** Holds what a certificate of an erasure says against what its two events say, whose values make their leaves. */
export function checkErasure(signed: unknown, id: string, findings: Finding[]): void {
  const body = erasureSchema.safeParse(signed)
  if (!body.success) {
    findings.push({
      code: 'certificate_malformed',
      at: 'payload',
      detail: 'what is signed is no certificate of an erasure',
    })
    return
  }
  const { proofs, manifests, principals, persons, releases } = body.data
  const erased = 'annals.subject.erased'
  const expected = [
    ['erasureStarted', 'annals.subject.erasure_started', manifests.subjects, 'manifests.subjects'],
    ['erased', erased, manifests.text, 'manifests.text'],
    // What was kept first and went later stands in an event of its own.
    ...releases.map(
      ({ proof, manifest }, place) =>
        [proof, erased, manifest, `releases[${String(place)}].manifest`] as const,
    ),
  ] as const
  for (const [name, action, manifest, at] of expected) {
    const proof = proofs[name]
    if (proof === undefined) {
      findings.push({ code: 'certificate_malformed', at: `proofs.${name}`, detail: 'it is not there' })
      continue
    }
    const { event, action: said } = proof
    const differs = (where: string, detail: string) =>
      void findings.push({ code: 'certificate_differs', at: where, detail })
    if (said !== action) differs(`proofs.${name}.action`, 'it is not the event of this step')
    const metadata = metadataOf(event)
    if (erasureOf(event)?.manifest !== manifest)
      differs(at, 'the sealed event names another manifest, or not two principals')
    if (idAt(event, 'target/0') !== id) differs('id', `the event ${name} is about another request`)
    for (const who of ['submitter', 'approver'] as const)
      if (metadata.get(who) !== principals[who])
        differs(`principals.${who}`, 'the sealed event names another principal')
    if (name === 'erasureStarted' && metadata.get('subjects') !== persons)
      differs('persons', 'the sealed event says another number')
  }
}

/** Holds what a certificate of an offboarding says against its two events, and its last checkpoint against its signature. */
export function checkOffboarding(
  signed: unknown,
  {
    id,
    issuer,
    organizationId,
  }: { readonly id: string; readonly issuer: string; readonly organizationId: string },
  findings: Finding[],
): void {
  const body = offboardingSchema.safeParse(signed)
  if (!body.success) {
    const detail = 'what is signed is no certificate of an offboarding'
    findings.push({ code: 'certificate_malformed', at: 'payload', detail })
    return
  }
  const { proofs, principals, final } = body.data
  const differs = (at: string, detail: string) =>
    void findings.push({ code: 'certificate_differs', at, detail })
  const said = {
    ...principals,
    leaves: final?.size ?? 0,
    root: final?.root,
    checkpoint: final?.checkpointSha256,
  }
  for (const [name, action] of [
    ['started', 'annals.organization.offboarding_started'],
    ['offboarded', 'annals.organization.offboarded'],
  ] as const) {
    if (proofs[name].action !== action) differs(`proofs.${name}.action`, 'it is not the event of this step')
    const { event } = proofs[name]
    if (idAt(event, 'target/0') !== organizationId)
      differs('organizationId', `the event ${name} is about another organization`)
    if (idAt(event, 'target/1') !== id) differs('id', `the event ${name} is about another offboarding`)
    const metadata = metadataOf(event)
    for (const [member, value] of Object.entries(said))
      if (metadata.get(member) !== value)
        differs(`proofs.${name}.${member}`, 'the sealed event says another thing')
  }
  if (final === null) return
  const { checkpoint, keys, generation } = final
  const at = 'final.checkpoint'
  if (hash('sha256', checkpoint) !== final.checkpointSha256) differs(at, 'it is another than was sealed')
  try {
    const trusted = trustedLog(keys, nodeNoteCrypto)
    if (trusted.origin !== `${issuer}/${organizationId}/${String(generation)}`)
      findings.push({ code: 'checkpoint_foreign', at, detail: 'it is the checkpoint of another log' })
    const { size, root } = openCheckpoint(checkpoint, trusted)
    if (size !== final.size || Buffer.from(root).toString('hex') !== final.root)
      differs(at, 'the tree that it signs is another')
  } catch (error) {
    if (!(error instanceof LogError) && !(error instanceof TrustError)) throw error
    findings.push({ code: 'checkpoint_foreign', at, detail: 'it is not signed by the keys that are named' })
  }
}

const idAt = (event: unknown, slot: string): unknown => membersOf(valueOf(event, slot))['id']
