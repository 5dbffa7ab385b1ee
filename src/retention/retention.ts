/** Retention as every process has it: policies, holds, the lifecycle counter, the clock, and the rows of runs. */
import type { Db, MongoClient } from 'mongodb'
import type { SystemEventWriter } from '../events/contract.js'
import type { OrganizationKeyset } from '../keys/organization-keys.js'
import type { SubjectDirectory } from '../subjects/directory.js'
import type { SubjectStore } from '../subjects/store.js'
import type { LogStore } from '../transparency-log/store.js'
import { createRetentionClock, databaseTime, type RetentionClock } from './clock-store.js'
import { createHoldStore, ensureHoldIndexes } from './hold-store.js'
import { createHoldService, type HoldService } from './holds.js'
import { createLifecycle, ensureLifecycles, type Lifecycle } from './lifecycle.js'
import { createPolicyService, type PolicyService } from './policies.js'
import { createPolicyStore, ensurePolicyIndexes } from './policy-store.js'
import { createPreview, type PreviewRetention } from './preview.js'
import { createRunStore, ensureRunIndexes, type RunStore } from './runs.js'
import { surveyArchive, type ArchiveSurvey } from './survey.js'

export interface Retention {
  readonly policies: PolicyService
  readonly holds: HoldService
  readonly lifecycle: Lifecycle
  /** The time that retention goes by. */
  readonly clock: RetentionClock
  readonly runs: RunStore
  readonly preview: PreviewRetention
  /** How far behind archiving is, over all organizations. */
  readonly survey: () => Promise<ArchiveSurvey>
}

export interface RetentionDependencies {
  readonly client: MongoClient
  readonly db: Db
  readonly subjects: SubjectStore
  readonly directory: Pick<SubjectDirectory, 'find'>
  readonly log: Pick<LogStore, 'head'>
  readonly systemEvents: SystemEventWriter
  readonly keysetOf: (organizationId: string) => Promise<OrganizationKeyset>
  readonly idForKey: (keyset: OrganizationKeyset, prefix: string, key: string) => string
}

export function createRetention(dependencies: RetentionDependencies): Retention {
  const { client, db, log, systemEvents } = dependencies
  const lifecycle = createLifecycle(db)
  const clock = createRetentionClock(db)
  const policies = createPolicyService({
    client,
    store: createPolicyStore(db),
    lifecycle,
    systemEvents,
    databaseNow: () => databaseTime(db),
    newestSealedAt: async (organizationId) => (await log.head(organizationId))?.sealedAt,
  })
  const holds = createHoldService({ ...dependencies, store: createHoldStore(db), lifecycle })
  return {
    lifecycle,
    clock,
    policies,
    holds,
    runs: createRunStore(db),
    preview: createPreview({ db, log, policies, holds, clock }),
    survey: async () => surveyArchive(db, (await clock.peek()).now),
  }
}

/** Makes the collections of retention and their indexes; safe to repeat. */
export async function ensureRetentionIndexes(db: Db): Promise<void> {
  await ensureLifecycles(db)
  await ensurePolicyIndexes(db)
  await ensureHoldIndexes(db)
  await ensureRunIndexes(db)
}
