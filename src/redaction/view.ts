/** A redaction as an answer carries it. */
import { redactionLimits, redactionWorkflowId } from './contract.js'
import type { RedactionView } from './schema.js'
import type { RedactionDocument } from './store.js'

const text = (time: Date | null) => time?.toISOString() ?? null

/** When a request that nobody has approved can be approved no more. */
export const lapsesAt = ({ requestedAt }: Pick<RedactionDocument, 'requestedAt'>): Date =>
  new Date(requestedAt.getTime() + redactionLimits.lapseDays * 86_400_000)

export const redactionView = (redaction: RedactionDocument): RedactionView => ({
  id: redaction.redactionId,
  organizationId: redaction.organizationId,
  state: redaction.state,
  fields: redaction.fields.map(({ eventId, slot }) => ({ eventId, slot })),
  reason: redaction.reason,
  submitter: redaction.submitter,
  requestedAt: redaction.requestedAt.toISOString(),
  lapsesAt: lapsesAt(redaction).toISOString(),
  approver: redaction.approver,
  approvedAt: text(redaction.approvedAt),
  failure: redaction.failure,
  manifest: redaction.manifest,
  eventId: redaction.eventId,
  endedAt: text(redaction.endedAt),
  workflowId: redaction.approver === null ? null : redactionWorkflowId(redaction),
})
