/**
 * Which segments are to be looked at for expiry: by organization, the first of each that is
 *
 *     recorded as expired, and not all gone yet       it goes on, whatever the policy says by now
 *     due, and was never looked at                    by the age of its last leaf; the oldest, since ages grow to the left
 *     due, and kept by a hold that was released
 *
 * Content goes first, and then records, in the same way; those that the archive still locks are passed over.
 *
 * Nothing here decides about an event (expirer.ts does), and nothing is due while the clocks are not believed.
 */
import type { Collection, Db, Filter } from 'mongodb'
import type { SegmentDocument } from '../archive/contract.js'
import { lookMember } from '../archive/segments-store.js'
import { collectionNames } from '../mongo/collections.js'
import type { LogHeadDocument } from '../transparency-log/store.js'
import type { RetentionClock } from './clock-store.js'
import type { Hold } from './contract.js'
import type { ExpireInput, ExpiryKind, ExpiryPage } from './expiry-contract.js'
import { contentCutoff, expiryDays, recordsCutoff } from './policy.js'
import type { LoggedPolicy } from './policy-store.js'
import { batches, logsAtOnce, newestSegments } from './survey.js'

export interface ExpiryPlanner {
  /**
   * Some organizations with something to expire, by id, and one segment of each.
   * @param asOf the moment the sweep began @param after organizations after this one only @param limit of one page
   */
  due(asOf: Date, after: string | undefined, limit: number): Promise<ExpiryPage>
  dueOf(asOf: Date, organizationId: string): Promise<ExpireInput | undefined>
}

export interface ExpiryPlannerDependencies {
  readonly db: Db
  readonly clock: Pick<RetentionClock, 'look'>
  readonly policies: { counting(organizationId: string, now: Date): Promise<LoggedPolicy[]> }
  readonly holds: { active(organizationId: string): Promise<Hold[]> }
}

/** Organizations that are asked about at the same time. */
const atOnce = 16
const projection = {
  ...{ _id: 0, organizationId: 1, generation: 1, from: 1, to: 1, sealedTo: 1, hotDeletedAt: 1 },
  ...{ 'expiring.kind': 1, 'contentExpiry.at': 1 },
} as const

type Found = Pick<
  SegmentDocument,
  'organizationId' | 'generation' | 'from' | 'to' | 'sealedTo' | 'hotDeletedAt'
> & {
  readonly expiring?: { readonly kind: ExpiryKind }
  readonly contentExpiry?: { readonly at: Date } | null
}

export function createExpiryPlanner({
  db,
  clock,
  policies,
  holds,
}: ExpiryPlannerDependencies): ExpiryPlanner {
  const segments: Collection<SegmentDocument> = db.collection(collectionNames.archiveSegments)
  const heads: Collection<LogHeadDocument> = db.collection(collectionNames.logHeads)

  const first = async (filter: Filter<SegmentDocument>): Promise<Found | undefined> =>
    (await segments.findOne<Found>(filter, { projection, sort: { generation: 1, from: 1 } })) ?? undefined

  /** Looked at before, and kept by a hold that is in force no more. */
  async function released(
    organizationId: string,
    kind: ExpiryKind,
    cutoff: Date,
  ): Promise<Found | undefined> {
    const look = lookMember[kind]
    const kept = { organizationId, [`${look}.held`]: { $gt: 0 } }
    if ((await segments.findOne(kept, { projection: { _id: 1 } })) === null) return undefined
    const active = (await holds.active(organizationId)).map(({ id }) => id)
    const found = await first({ ...kept, [`${look}.holds`]: { $elemMatch: { $nin: active } } })
    return found !== undefined && found.sealedTo <= cutoff ? found : undefined
  }

  async function contentDue(organizationId: string, cutoff: Date): Promise<Found | undefined> {
    const next = await first({ organizationId, contentExpiry: null })
    // One that is still being moved, and those after it, are for the next sweep.
    const isDue = next !== undefined && next.sealedTo <= cutoff && next.hotDeletedAt !== null
    return isDue ? next : released(organizationId, 'content', cutoff)
  }

  async function recordsDue(organizationId: string, cutoff: Date, now: Date): Promise<Found | undefined> {
    const next = await first({
      organizationId,
      recordExpiry: null,
      $or: [{ recordsLockedUntil: { $exists: false } }, { recordsLockedUntil: { $lte: now } }],
    })
    const isDue = next !== undefined && next.sealedTo <= cutoff && (next.contentExpiry ?? null) !== null
    return isDue ? next : released(organizationId, 'records', cutoff)
  }

  async function of(organizationId: string, now: Date): Promise<ExpireInput | undefined> {
    const unfinished = await first({ organizationId, expiring: { $exists: true } })
    if (unfinished !== undefined) return inputOf(unfinished, unfinished.expiring?.kind ?? 'content')
    const days = expiryDays(await policies.counting(organizationId, now), now)
    const [contentUntil, recordsUntil] = [contentCutoff(now, days), recordsCutoff(now, days)]
    const content = contentUntil === null ? undefined : await contentDue(organizationId, contentUntil)
    if (content !== undefined) return inputOf(content, 'content')
    const records = recordsUntil === null ? undefined : await recordsDue(organizationId, recordsUntil, now)
    return records === undefined ? undefined : inputOf(records, 'records')
  }

  /** Those that have a segment, by id: nobody else has anything that could expire. */
  async function* archivedOrganizations(filter: Filter<LogHeadDocument>): AsyncIterable<string> {
    const found = heads
      .find(filter, { projection: { organizationId: 1 }, batchSize: logsAtOnce })
      .sort({ _id: 1 })
    for await (const batch of batches(found, logsAtOnce)) {
      // Closed generations have heads of their own.
      const ids = batch.filter(({ _id, organizationId }) => _id === organizationId).map(({ _id }) => _id)
      const archived = await segments.aggregate<{ _id: string }>(newestSegments(ids)).toArray()
      yield* archived.map(({ _id }) => _id).sort()
    }
  }

  async function believedNow(asOf: Date): Promise<Date | undefined> {
    const { now, verdict } = await clock.look()
    if (verdict !== 'steady') return undefined
    return asOf < now ? asOf : now
  }

  return {
    async dueOf(asOf, organizationId) {
      const now = await believedNow(asOf)
      return now === undefined ? undefined : of(organizationId, now)
    },
    async due(asOf, after, limit) {
      const now = await believedNow(asOf)
      if (now === undefined) return { segments: [], next: null }
      const found: ExpireInput[] = []
      const filter = after === undefined ? {} : { _id: { $gt: after } }
      for await (const batch of batches(archivedOrganizations(filter), atOnce)) {
        const due = await Promise.all(batch.map((organizationId) => of(organizationId, now)))
        found.push(...due.filter((input) => input !== undefined))
        if (found.length >= limit) return { segments: found, next: batch.at(-1) ?? null }
      }
      return { segments: found, next: null }
    },
  }
}

const inputOf = ({ organizationId, generation, from, to }: Found, kind: ExpiryKind): ExpireInput => ({
  organizationId,
  generation,
  from,
  to,
  kind,
})
