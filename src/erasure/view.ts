/** A request as the API shows it: free of anything personal, but for `personal`, which is asked for and logged. */
import type { DeliveryOutcome } from '../delivery/contract.js'
import {
  erasureWorkflowId,
  type ErasureGround,
  type ErasureIdentifier,
  type ErasureState,
} from './contract.js'
import type { Exemption, ExemptionGround, JointFreeText, OperatorReason, Recipient } from './contract.js'
import type { Words } from './sealed.js'
import type { ErasureRequestDocument } from './store.js'

export interface ErasureView {
  readonly id: string
  readonly organizationId: string
  readonly state: ErasureState
  readonly workflowId: string
  readonly submittedAt: string
  readonly submitter: string
  readonly receivedAt: string
  readonly dueAt: string
  /** It is past due and not answered. */
  readonly overdue: boolean
  readonly extended: boolean
  readonly ground: ErasureGround
  readonly jointFreeText: JointFreeText
  readonly identifierKinds: readonly ErasureIdentifier['kind'][]
  readonly recipientCount: number
  /** Of the organization's settings, and of its retention policy, when it was submitted. */
  readonly policyVersion: number
  readonly retentionVersion: number
  readonly approver: string | null
  readonly exempt: readonly Exemption[]
  readonly denialGround: ExemptionGround | null
  readonly coolingOffEndsAt: string | null
  readonly recheckAt: string | null
  readonly expiryAt: string | null
  readonly needsOperator: {
    readonly reason: OperatorReason
    readonly targets: readonly string[]
    readonly resumesAt: ErasureState | null
  } | null
  readonly duplicateOf: string | null
  readonly endedAt: string | null
}

/** What only officers with the personal grant see, while the request is open. */
export interface PersonalView {
  readonly identifiers: readonly ErasureIdentifier[]
  readonly requester: string
  readonly channel: string
  readonly recipients: readonly Recipient[]
  readonly words: readonly {
    readonly action: string
    readonly at: string
    readonly by: string
    readonly words: Words
  }[]
}

export function viewOf(document: ErasureRequestDocument) {
  const { organizationId, requestId, operator } = document
  const view: ErasureView = {
    id: requestId,
    organizationId,
    state: document.state,
    workflowId: erasureWorkflowId(organizationId, requestId),
    submittedAt: document.submittedAt.toISOString(),
    submitter: document.submitter,
    receivedAt: document.receivedAt.toISOString(),
    dueAt: document.dueAt.toISOString(),
    overdue: document.overdueFor?.getTime() === document.dueAt.getTime() && document.endedAt === null,
    extended: document.extendedAt !== null,
    ground: document.ground,
    jointFreeText: document.jointFreeText,
    identifierKinds: document.identifierKinds,
    recipientCount: document.recipientCount,
    policyVersion: document.policy.version,
    retentionVersion: document.policy.retentionVersion,
    approver: document.approver,
    exempt: document.exempt,
    denialGround: document.denialGround,
    coolingOffEndsAt: document.coolingOffEndsAt?.toISOString() ?? null,
    recheckAt: document.state === 'on_hold' ? (document.recheckAt?.toISOString() ?? null) : null,
    expiryAt: document.expiryAt?.toISOString() ?? null,
    needsOperator:
      document.state === 'needs_operator' && operator !== null
        ? { ...operator, resumesAt: document.resumeAt }
        : null,
    duplicateOf: document.duplicateOf,
    endedAt: document.endedAt?.toISOString() ?? null,
  }
  return view
}

export type ErasureDetail = ReturnType<typeof detailOf>

/** JSON makes the dates in `scope`, `recipients` and `evidence` RFC 3339 times. */
export function detailOf(
  document: ErasureRequestDocument,
  recipients: readonly DeliveryOutcome[],
  personal: PersonalView | null,
) {
  const { duplicates, scope, attestations, evidence } = document
  return { ...viewOf(document), duplicates, scope, recipients, attestations, evidence, personal }
}
