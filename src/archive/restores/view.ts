/** A restore as an answer carries it. */
import { restoreWorkflowId } from './contract.js'
import type { RestoreView } from './schema.js'
import type { RestoreDocument } from './store.js'

const text = (time: Date | null) => time?.toISOString() ?? null

export const restoreView = (restore: RestoreDocument): RestoreView => ({
  id: restore.restoreId,
  organizationId: restore.organizationId,
  state: restore.state,
  from: restore.from.toISOString(),
  to: restore.to.toISOString(),
  days: restore.days,
  reason: restore.reason,
  principal: restore.principal,
  requestedAt: restore.requestedAt.toISOString(),
  restoredAt: text(restore.restoredAt),
  expiresAt: text(restore.expiresAt),
  endedAt: text(restore.endedAt),
  failure: restore.failure,
  counts: {
    leaves: restore.counts.leaves,
    leavesToRead: restore.leavesToRead,
    events: restore.counts.events,
    bytes: restore.counts.bytes,
  },
  workflowId: restoreWorkflowId(restore),
})
