/** An offboarding as an answer carries it. */
import { offboardingSteps, offboardingWorkflowId } from './contract.js'
import type { OffboardingView } from './schema.js'
import type { OffboardingDocument } from './store.js'

const text = (time: Date | null | undefined) => time?.toISOString() ?? null

export const offboardingView = (offboarding: OffboardingDocument): OffboardingView => ({
  id: offboarding.offboardingId,
  organizationId: offboarding.organizationId,
  state: offboarding.state,
  reason: offboarding.reason,
  submitter: offboarding.submitter,
  requestedAt: offboarding.requestedAt.toISOString(),
  approver: offboarding.approver,
  approvedAt: text(offboarding.approvedAt),
  coolingOffEndsAt: text(offboarding.coolingOffEndsAt),
  withdrawnBy: offboarding.withdrawnBy,
  closedAt: text(offboarding.closedAt),
  steps: offboardingSteps.map((step) => ({
    step,
    intendedAt: text(offboarding.steps[step]?.intendedAt),
    doneAt: text(offboarding.steps[step]?.doneAt),
  })),
  operator:
    offboarding.state === 'needs_operator' && offboarding.operator !== null
      ? { ...offboarding.operator, at: offboarding.operator.at.toISOString() }
      : null,
  final: offboarding.final,
  removed: offboarding.removed,
  remains: { lockedObjects: offboarding.locked, keyPeriods: [...offboarding.keyPeriods] },
  eventId: offboarding.eventId,
  endedAt: text(offboarding.endedAt),
  workflowId: offboarding.approver === null ? null : offboardingWorkflowId(offboarding),
})
