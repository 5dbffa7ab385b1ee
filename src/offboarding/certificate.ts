/**
 * What the certificate of an offboarding says, beside what every certificate says (certificates/contract.ts); its kind is
 * `annals/offboarding/certificate`. It carries the last checkpoint of the organization's log as it was signed, so that
 * whoever holds a receipt or a download of it can check that against its end, although the log itself is gone. Its proofs
 * are of events in the log of the deployment. docs/formats.md has it member by member.
 */
import { z } from 'zod'
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
import type { FinalLog, OffboardingDocument } from './store.js'

export const offboardingCertificateKind = 'annals/offboarding/certificate'

export const offboardingCertificateSchema = z.object({
  ...certificateHead(offboardingCertificateKind),
  outcome: z.enum(['awaiting_expiry', 'completed']),
  principals: z.object({ submitter: z.string(), approver: z.string() }),
  times: z.object({
    requestedAt: time,
    approvedAt: time,
    closedAt: time,
    keysDestroyedAt: time,
    rowsRemovedAt: time,
    archiveRemovedAt: time,
    verifiedAt: time,
  }),
  final: z
    .object({
      generation: z.int(),
      size: count,
      root: sha256,
      checkpointSha256: sha256,
      checkpoint: z.string().meta({ description: 'The signed note.' }),
      keys: z.array(z.string()).meta({ description: 'The verifier keys of that log.' }),
    })
    .nullable()
    .meta({ description: 'The log of the organization as it ended; null where it had none.' }),
  removed: z.record(z.string(), count).meta({ description: 'Rows that went, by collection.' }),
  remains: z.object({
    lockedObjects: count,
    keyPeriods: z.array(z.object({ period: z.int(), deleted: z.boolean() })),
  }),
  proofs: z.object({ started: proof, offboarded: proof }),
})
export type OffboardingCertificate = z.infer<typeof offboardingCertificateSchema>

export const offboardingCertificateFileSchema = certificateFileSchema(offboardingCertificateSchema)

export interface OffboardingRemains {
  /** Objects under lock. */
  readonly locked: number
  /** Whose keys wrapped keys that are destroyed. */
  readonly periods: readonly { readonly period: number; readonly deleted: boolean }[]
}

export const nothingRemains = ({ locked, periods }: OffboardingRemains): boolean =>
  locked === 0 && periods.every(({ deleted }) => deleted)

export interface OffboardingFacts extends OffboardingRemains {
  readonly issuer: string
  readonly version: number
  readonly supersedes: string | null
  readonly issuedAt: Date
  readonly offboarding: OffboardingDocument
  /** With the keys of that log; null where there was none. */
  readonly final: (FinalLog & { readonly keys: readonly string[] }) | null
  readonly proofs: { readonly started: CertificateProof; readonly offboarded: CertificateProof }
}

/** @throws Error where a step that comes before the certificate has left no trace */
export function offboardingCertificate(facts: OffboardingFacts): OffboardingCertificate {
  const { offboarding, final, locked, periods } = facts
  const { organizationId, offboardingId, submitter, approver, approvedAt, closedAt, steps } = offboarding
  if (approver === null || approvedAt === null || closedAt === null) throw missing('its approval')
  if (final !== null && final.checkpoint === undefined) throw missing('the last checkpoint')
  const doneAt = (step: keyof typeof steps): string => {
    const at = steps[step]?.doneAt
    if (at === undefined) throw missing(`the step ${step}`)
    return at.toISOString()
  }
  return {
    v: 1,
    kind: offboardingCertificateKind,
    issuer: facts.issuer,
    organizationId,
    id: offboardingId,
    version: facts.version,
    supersedes: facts.supersedes,
    issuedAt: facts.issuedAt.toISOString(),
    outcome: nothingRemains(facts) ? 'completed' : 'awaiting_expiry',
    principals: { submitter, approver },
    times: {
      requestedAt: offboarding.requestedAt.toISOString(),
      approvedAt: approvedAt.toISOString(),
      closedAt: closedAt.toISOString(),
      keysDestroyedAt: doneAt('destroy_keys'),
      rowsRemovedAt: doneAt('remove_rows'),
      archiveRemovedAt: doneAt('remove_archive'),
      verifiedAt: doneAt('verify'),
    },
    final: final === null ? null : { ...final, checkpoint: final.checkpoint ?? '', keys: [...final.keys] },
    removed: { ...offboarding.removed },
    remains: { lockedObjects: locked, keyPeriods: periods.map((one) => ({ ...one })) },
    proofs: { started: provedBy(facts.proofs.started), offboarded: provedBy(facts.proofs.offboarded) },
  }
}

const missing = (what: string) => new Error(`an offboarding was to be certified without ${what}`)
