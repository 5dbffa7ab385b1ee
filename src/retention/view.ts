/** Policies, holds and runs as the API shows them. */
import type { Hold, RetentionPolicy } from './contract.js'
import { expiryDays, policyGraceMs } from './policy.js'
import type { RetentionRunDocument } from './runs.js'

export const versionView = (policy: RetentionPolicy) => ({
  organizationId: policy.organizationId,
  hotDays: policy.hotDays,
  archiveDays: policy.archiveDays,
  recordDays: policy.recordDays,
  version: policy.version,
  since: policy.version === 0 ? null : policy.since.toISOString(),
  author: policy.author,
})

/** @param counting all versions that count for expiry at `now` */
export function retentionView(counting: readonly RetentionPolicy[], now: Date) {
  const newest = counting.reduce((a, b) => (b.version > a.version ? b : a))
  const { archiveDays, recordDays } = expiryDays(counting, now)
  const waiting = archiveDays !== newest.archiveDays || recordDays !== newest.recordDays
  const until = new Date(newest.since.getTime() + policyGraceMs).toISOString()
  return { ...versionView(newest), expiry: { archiveDays, recordDays, until: waiting ? until : null } }
}

export const holdView = ({ scope, ...hold }: Hold) => ({
  id: hold.id,
  organizationId: hold.organizationId,
  scope: {
    ...(scope.subjects === undefined ? {} : { subjects: scope.subjects }),
    ...(scope.action === undefined ? {} : { action: scope.action }),
    ...(scope.from === undefined ? {} : { from: scope.from.toISOString() }),
    ...(scope.to === undefined ? {} : { to: scope.to.toISOString() }),
  },
  reason: hold.reason,
  author: hold.author,
  placedAt: hold.placedAt.toISOString(),
  releasedAt: hold.releasedAt?.toISOString() ?? null,
  releasedBy: hold.releasedBy,
})

export const runView = ({ runId, startedAt, updatedAt, finishedAt, ...run }: RetentionRunDocument) => ({
  id: runId,
  organizationId: run.organizationId,
  kind: run.kind,
  generation: run.generation,
  from: run.from,
  to: run.to,
  state: run.state,
  step: run.step,
  progress: run.progress,
  counts: run.counts,
  bytes: run.bytes,
  reason: run.reason,
  workflowId: run.workflowId,
  startedAt: startedAt.toISOString(),
  updatedAt: updatedAt.toISOString(),
  finishedAt: finishedAt?.toISOString() ?? null,
})
