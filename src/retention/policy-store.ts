/**
 * The collection `retentionPolicies`: one document a version of an organization's policy. Versions are inserted, one
 * after the other, and never changed: what a deletion was allowed by can be read for ever.
 */
import type { ClientSession, Collection, Db } from 'mongodb'
import { collectionNames } from '../mongo/collections.js'
import { defaultRetention, type RetentionPolicy } from './contract.js'
import { policyGraceMs } from './policy.js'

/** A version with the event that says so; the default has none. */
export interface LoggedPolicy extends RetentionPolicy {
  /** `evt_…` */
  readonly eventId?: string
}

export interface RetentionPolicyDocument extends LoggedPolicy {
  /** `<organizationId>/<version>` */
  readonly _id: string
}

/** Changes of a policy within the grace: so many count for expiry at most. */
export const maxChangesInGrace = 100

export interface PolicyStore {
  /** The policy as it is: the default where none was set. */
  newest(organizationId: string, session?: ClientSession): Promise<RetentionPolicy>
  /** Those that count for expiry at `now` (`expiryDays`), newest first. */
  counting(organizationId: string, now: Date, session?: ClientSession): Promise<LoggedPolicy[]>
  insert(policy: LoggedPolicy, session: ClientSession): Promise<void>
  /** Newest first, those older than `before`. The default is in none of them. */
  list(organizationId: string, limit: number, before?: number): Promise<RetentionPolicy[]>
}

/** What holds where nobody has set a policy. */
export const defaultPolicy = (organizationId: string): RetentionPolicy => ({
  organizationId,
  version: 0,
  since: new Date(0),
  author: null,
  ...defaultRetention,
})

export function createPolicyStore(db: Db): PolicyStore {
  const policies: Collection<RetentionPolicyDocument> = db.collection(collectionNames.retentionPolicies)
  const newestFirst = (organizationId: string, session?: ClientSession) =>
    policies.find({ organizationId }, session === undefined ? {} : { session }).sort({ version: -1 })

  return {
    async newest(organizationId, session) {
      const [found] = await newestFirst(organizationId, session).limit(1).toArray()
      return found === undefined ? defaultPolicy(organizationId) : policyOf(found)
    },
    async counting(organizationId, now, session) {
      const graceBegins = now.getTime() - policyGraceMs
      const found = await newestFirst(organizationId, session)
        .limit(maxChangesInGrace + 1)
        .toArray()
      const all = [...found.map(policyOf), defaultPolicy(organizationId)]
      // What was in force when the grace began is the last that counts.
      const last = all.findIndex(({ since }) => since.getTime() <= graceBegins)
      return last === -1 ? all : all.slice(0, last + 1)
    },
    async insert(policy, session) {
      const _id = `${policy.organizationId}/${String(policy.version)}`
      await policies.insertOne({ _id, ...policy }, { session })
    },
    async list(organizationId, limit, before) {
      const filter = before === undefined ? {} : { version: { $lt: before } }
      const found = await policies
        .find({ organizationId, ...filter })
        .sort({ version: -1 })
        .limit(limit)
        .toArray()
      return found.map(policyOf)
    },
  }
}

const policyOf = ({ _id, ...policy }: RetentionPolicyDocument): LoggedPolicy => policy

/** Creates the indexes of policies; safe to repeat. */
export async function ensurePolicyIndexes(db: Db): Promise<void> {
  await db
    .collection<RetentionPolicyDocument>(collectionNames.retentionPolicies)
    .createIndexes([{ key: { organizationId: 1, version: -1 }, name: 'organization_version', unique: true }])
}
