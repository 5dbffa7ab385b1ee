/**
 * What the certificate of an erasure says, beside what every certificate says (certificates/contract.ts); its kind is
 * `annals/erasure/certificate`. Free of personal data: counts, dates, grounds, codes, hashes, and ids of requests and
 * principals. docs/formats.md has it member by member.
 */
import { z } from 'zod'
import { countOutcomes, deliveryStatuses, type DeliveryOutcome } from '../delivery/contract.js'
import type { CertificateProof } from '../certificates/contract.js'
import {
  certificateCount as count,
  certificateFileSchema,
  certificateHash as sha256,
  certificateHead,
  certificateProofSchema as proof,
  certificateTime as time,
  provedBy,
} from '../certificates/schema.js'
import {
  erasureGrounds,
  exemptionGrounds,
  jointFreeTextChoices,
  retirementOutcomes,
  type Exemption,
} from './contract.js'
import type { ErasureProgressDocument } from './progress.js'
import { retirementsOf } from './retiring.js'
import { residualKinds, type Residual } from './residuals.js'
import type { ErasureRequestDocument, Evidence } from './store.js'

export const erasureCertificateKind = 'annals/erasure/certificate'

const principal = z.string()

export const erasureCertificateSchema = z.object({
  ...certificateHead(erasureCertificateKind),
  outcome: z.enum(['completed', 'completed_with_exceptions']),
  request: z.object({
    submittedAt: time,
    receivedAt: time,
    dueAt: time,
    extended: z.boolean(),
    ground: z.enum(erasureGrounds),
    identifiers: z.record(z.string(), count).meta({ description: 'How many, by kind.' }),
    jointFreeText: z.enum(jointFreeTextChoices),
    policyVersion: z.int(),
    retentionVersion: z.int(),
  }),
  principals: z.object({
    submitter: principal,
    identityVerifiedBy: principal.nullable(),
    approver: principal,
  }),
  times: z.object({
    approvedAt: time.nullable(),
    fencedAt: time,
    keysDestroyedAt: time,
    removedAt: time,
    verifiedAt: time,
  }),
  persons: count.meta({ description: 'Subjects that the identifiers led to.' }),
  removed: z.array(
    z.object({
      target: z.string(),
      items: count,
      atLeast: z
        .boolean()
        .meta({ description: 'A run was cut off before it could say how much it removed.' }),
    }),
  ),
  text: z.object({ removed: count, kept: count }),
  kept: z
    .array(
      z.object({
        reason: z.enum(['exempt', 'hold']),
        class: z.string().nullable(),
        ground: z.enum(exemptionGrounds).nullable(),
        events: count,
      }),
    )
    .meta({ description: 'What stays under the key of the request, and why.' }),
  verification: z.object({
    at: time,
    searchedFor: count,
    credentials: z.enum(['read_only', 'shared']).default('shared').meta({
      description: 'How the reader came into the database: by a user that can only read, or as all else.',
    }),
    places: z.array(z.object({ kind: z.string(), name: z.string(), read: count })),
    attested: z.array(z.object({ target: z.string(), by: principal, at: time })),
    retired: z
      .array(
        z.object({
          target: z.string(),
          outcome: z.enum(retirementOutcomes),
          reason: z.string(),
          by: principal,
          at: time,
        }),
      )
      .default([])
      .meta({
        description: 'Places that were gone and that no reader looked at: what an officer says of them.',
      }),
  }),
  releases: z
    .array(z.object({ at: time, events: count, fields: count, manifest: sha256, proof: z.string() }))
    .default([])
    .meta({
      description: 'What was kept first and is gone since its hold ended, with the name of its proof.',
    }),
  recipients: z.record(z.enum(deliveryStatuses), count),
  remains: z.array(
    z.object({
      what: z.enum(residualKinds),
      state: z.enum(['gone', 'until', 'unknown']),
      until: time.nullable(),
      estimated: z.boolean(),
      member: z.int().positive().nullable(),
      periods: z.array(z.int()),
    }),
  ),
  manifests: z.object({ subjects: sha256, text: sha256 }),
  ledger: z.object({ sequence: z.int().positive(), hash: sha256, at: time }),
  statement: z.object({ claimed: z.array(z.string()), notClaimed: z.array(z.string()) }),
  proofs: z.object({ erasureStarted: proof, erased: proof }).catchall(proof),
})
export type ErasureCertificate = z.infer<typeof erasureCertificateSchema>

export const erasureCertificateFileSchema = certificateFileSchema(erasureCertificateSchema)

/** What is claimed, and what is not: in every certificate, in the words of docs/erasure.md. */
export const statement = {
  claimed: [
    'The keys that opened what was stored about the person were destroyed, but for what is listed as kept.',
    'A second reader, with code of its own, went through the places that are listed and found none of the identifiers that were searched for, but for what is listed as kept.',
    'Two different principals asked for this and approved it, and the log of the organization says so: the proofs show that it was written there.',
    'Every proof that the log gave before still holds: what was removed left its commitment behind.',
  ],
  notClaimed: [
    'That what is left cannot point to somebody: a random reference still joins the events of the person, and an action and its time may be enough for who knows the circumstances.',
    'That copies outside of Annals are gone, such as exports that somebody has downloaded; recipients were told as is listed.',
    'That every duty of a law is met by this.',
  ],
} as const

export interface KeptEvents {
  readonly reason: 'exempt' | 'hold'
  readonly class: Exemption['class'] | null
  readonly ground: Exemption['ground'] | null
  readonly events: number
}

export interface CertificateFacts {
  readonly issuer: string
  readonly version: number
  readonly supersedes: string | null
  readonly issuedAt: Date
  readonly request: ErasureRequestDocument
  readonly progress: ErasureProgressDocument
  readonly text: { readonly removed: number; readonly kept: number }
  readonly kept: readonly KeptEvents[]
  readonly recipients: readonly Pick<DeliveryOutcome, 'status'>[]
  readonly residuals: readonly Residual[]
  /** Of the releases, too, by `releaseProofName`. */
  readonly proofs: Readonly<Record<string, CertificateProof>> & {
    readonly erasureStarted: CertificateProof
    readonly erased: CertificateProof
  }
}

/** How a certificate names the proof of a release. @param number from 1 */
export const releaseProofName = (number: number): string => `released${String(number)}`

/** @throws Error where a step that comes before the certificate has left no trace */
export function erasureCertificate(facts: CertificateFacts) {
  const { request, progress, residuals, issuedAt } = facts
  const { manifests, ledgerEntry, reading, steps, removed = {} } = progress
  const { approver, extendedAt, policy } = request
  if (manifests?.subjects === undefined || manifests.text === undefined) throw missing('its manifests')
  if (ledgerEntry === undefined) throw missing('its entry in the ledger')
  if (reading === undefined) throw missing('the report of the second reader')
  if (approver === null) throw missing('who approved it')
  const notRead = new Set(reading.retired)
  const retired = [...retirementsOf(request.attestations).values()].filter(({ target }) =>
    notRead.has(target),
  )
  const doneAt = (step: keyof typeof steps): string => {
    const at = steps[step]?.doneAt
    if (at === undefined) throw missing(`the step ${step}`)
    return at.toISOString()
  }
  const body: ErasureCertificate = {
    v: 1,
    kind: erasureCertificateKind,
    issuer: facts.issuer,
    organizationId: request.organizationId,
    id: request.requestId,
    version: facts.version,
    supersedes: facts.supersedes,
    issuedAt: issuedAt.toISOString(),
    outcome: facts.kept.length > 0 || retired.length > 0 ? 'completed_with_exceptions' : 'completed',
    request: {
      submittedAt: request.submittedAt.toISOString(),
      receivedAt: request.receivedAt.toISOString(),
      dueAt: request.dueAt.toISOString(),
      extended: extendedAt !== null,
      ground: request.ground,
      identifiers: countsOf(request.identifierKinds),
      jointFreeText: request.jointFreeText,
      policyVersion: policy.version,
      retentionVersion: policy.retentionVersion,
    },
    principals: {
      submitter: request.submitter,
      identityVerifiedBy: lineOf(request, 'identity_verified')?.by ?? null,
      approver,
    },
    times: {
      approvedAt: lineOf(request, 'approve')?.at.toISOString() ?? null,
      fencedAt: doneAt('fence'),
      keysDestroyedAt: doneAt('destroy'),
      removedAt: doneAt('remove'),
      verifiedAt: reading.at.toISOString(),
    },
    persons: progress.subjects.length,
    removed: Object.entries(removed)
      .map(([target, { begun, ended = 0, items = 0 }]) => ({
        target,
        // The fence took the entries of the directory before any target ran.
        items: target === 'directory' ? items + progress.detached : items,
        atLeast: ended < begun,
      }))
      .sort((a, b) => (a.target < b.target ? -1 : 1)),
    text: facts.text,
    kept: facts.kept.map((one) => ({ ...one })),
    verification: {
      at: reading.at.toISOString(),
      searchedFor: reading.searchedFor,
      credentials: reading.credentials ?? 'shared',
      places: reading.places.map(({ kind, name, read }) => ({ kind, name, read })),
      attested: request.attestations
        .filter(({ outcome }) => outcome === undefined)
        .map(({ target, principal: by, at }) => ({ target, by, at: at.toISOString() })),
      retired: retired.map(({ principal: by, at, ...rest }) => ({ ...rest, by, at: at.toISOString() })),
    },
    releases: (progress.releases ?? []).map(({ doneAt, events, fields, manifest }, position) => {
      if (doneAt === undefined) throw missing('the end of a release')
      return { at: doneAt.toISOString(), events, fields, manifest, proof: releaseProofName(position + 1) }
    }),
    recipients: countOutcomes(facts.recipients),
    remains: residuals.map(({ periods = [], member = null, ...rest }) => ({
      ...rest,
      member,
      periods: [...periods],
    })),
    manifests: { subjects: manifests.subjects, text: manifests.text },
    ledger: ledgerEntry,
    statement: { claimed: [...statement.claimed], notClaimed: [...statement.notClaimed] },
    proofs: {
      ...Object.fromEntries(Object.entries(facts.proofs).map(([name, proof]) => [name, provedBy(proof)])),
      erasureStarted: provedBy(facts.proofs.erasureStarted),
      erased: provedBy(facts.proofs.erased),
    },
  }
  return body
}

const missing = (what: string) => new Error(`a certificate was to be issued without ${what}`)

/** The last time that something happened to the request. */
const lineOf = ({ evidence }: ErasureRequestDocument, event: Evidence['event']): Evidence | undefined =>
  evidence.findLast((line) => line.event === event)

function countsOf(kinds: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const kind of kinds) counts[kind] = (counts[kind] ?? 0) + 1
  return counts
}
