/**
 * Retention policies: set by owners, versioned, asked by whatever moves or deletes.
 *
 * A version, its event and a step of the lifecycle counter are one transaction: a deletion that is under way and was
 * decided under the policy before sees that it has to look again (lifecycle.ts), and of two changes at once one
 * follows the other.
 */
import type { MongoClient } from 'mongodb'
import { AnnalsError } from '../errors.js'
import type { SystemEventWriter } from '../events/contract.js'
import { inTransaction } from '../mongo/transaction.js'
import type { RetentionDays, RetentionPolicy } from './contract.js'
import type { Lifecycle } from './lifecycle.js'
import { policyGraceMs, retentionProblems } from './policy.js'
import { maxChangesInGrace, type LoggedPolicy, type PolicyStore } from './policy-store.js'

export interface PolicyChange extends RetentionDays {
  /** The change is meant for this version of the policy, and for no other. Absent = for whichever there is. */
  readonly ifVersion?: number | undefined
}

export interface PolicyAuthor {
  /** `prn_…` */
  readonly principal: string
  readonly requestId: string
}

export interface PolicyService {
  /** The policy as it is: version 0, the default, where none was set. */
  get(organizationId: string): Promise<RetentionPolicy>
  /**
   * Puts a policy in force; the same again changes nothing.
   * @throws AnnalsError `invalid` | `wrong_state` where it is at another version than `ifVersion` | `rate_limited`
   */
  put(organizationId: string, change: PolicyChange, author: PolicyAuthor): Promise<RetentionPolicy>
  /** Versions, newest first, those older than `before`. */
  versions(organizationId: string, limit: number, before?: number): Promise<RetentionPolicy[]>
  /** All versions that count for expiry at a moment, for `expiryDays`. Never empty. */
  counting(organizationId: string, now: Date): Promise<LoggedPolicy[]>
}

export interface PolicyServiceDependencies {
  readonly client: MongoClient
  readonly store: PolicyStore
  readonly lifecycle: Lifecycle
  readonly systemEvents: Pick<SystemEventWriter, 'writeInTransaction'>
  /** `sealedAt` of the organization's newest leaf; undefined where nothing was sealed yet. */
  readonly newestSealedAt: (organizationId: string) => Promise<Date | undefined>
  /** The database's clock: one for all processes, so that no server that is set wrong begins a grace years ago. */
  readonly databaseNow: () => Promise<Date>
}

export function createPolicyService(dependencies: PolicyServiceDependencies): PolicyService {
  const { client, store, lifecycle, systemEvents } = dependencies

  return {
    get: (organizationId) => store.newest(organizationId),
    versions: (organizationId, limit, before) => store.list(organizationId, limit, before),
    counting: (organizationId, now) => store.counting(organizationId, now),

    async put(organizationId, { ifVersion, hotDays, archiveDays, recordDays }, author) {
      const days: RetentionDays = { hotDays, archiveDays, recordDays }
      refuseDisorder(days)
      const sealedAt = await dependencies.newestSealedAt(organizationId)
      const databaseNow = await dependencies.databaseNow()
      return inTransaction(client, async (session) => {
        const before = await store.newest(organizationId, session)
        if (ifVersion !== undefined && ifVersion !== before.version) throw moved()
        if (sameDays(before, days)) return before
        // Its grace counts from here: a clock that was set back must not have begun it years ago.
        const since = latest(databaseNow, before.since, sealedAt)
        const counting = await store.counting(organizationId, since, session)
        if (counting.length > maxChangesInGrace) throw tooManyChanges()
        const policy = {
          organizationId,
          version: before.version + 1,
          since,
          author: author.principal,
          ...days,
        }
        await lifecycle.advance(organizationId, session)
        const event = await systemEvents.writeInTransaction(
          {
            organizationId,
            action: 'annals.retention.policy_changed',
            occurredAt: new Date(),
            actor: { type: 'principal', id: author.principal },
            targets: [{ type: 'organization', id: organizationId }],
            context: { requestId: author.requestId },
            metadata: { version: policy.version, ...days, before: daysOf(before) },
          },
          session,
        )
        await store.insert({ ...policy, eventId: event.id }, session)
        return policy
      })
    },
  }
}

/** @throws AnnalsError `invalid` where the numbers of a policy are not in order */
export function refuseDisorder(days: RetentionDays): void {
  const errors = retentionProblems(days)
  if (errors.length > 0)
    throw new AnnalsError('invalid', 'The policy is not in order; see errors.', { errors })
}

const daysOf = ({ hotDays, archiveDays, recordDays }: RetentionDays) => ({ hotDays, archiveDays, recordDays })

const sameDays = (a: RetentionDays, b: RetentionDays): boolean =>
  a.hotDays === b.hotDays && a.archiveDays === b.archiveDays && a.recordDays === b.recordDays

const latest = (...moments: readonly (Date | undefined)[]): Date =>
  new Date(Math.max(...moments.map((moment) => moment?.getTime() ?? 0)))

const moved = () =>
  new AnnalsError(
    'wrong_state',
    'The policy was changed meanwhile: it is at another version than `ifVersion`.',
  )

const tooManyChanges = () =>
  new AnnalsError(
    'rate_limited',
    `The policy was changed ${String(maxChangesInGrace)} times within ${String(policyGraceMs / 86_400_000)} days.`,
    { retryAfterSeconds: 86_400 },
  )
