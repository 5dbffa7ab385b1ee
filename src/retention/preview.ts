/**
 * What a policy would move and delete, now and later, of what is there now; nothing is changed. It reads times of
 * tiles (a few for each date), one row a segment, a sample of events for their size, and counts for holds; no event is
 * read one by one, and every part has a bound. What went beyond one is said by `partial`.
 */
import type { Collection, Db, Filter } from 'mongodb'
import type { ExpiryLook, SegmentDocument } from '../archive/contract.js'
import { eventCollection, eventIndexes, type StoredEvent } from '../events/store.js'
import { clearTerm, maxPrefixes } from '../events/terms.js'
import { collectionNames } from '../mongo/collections.js'
import type { LogStore } from '../transparency-log/store.js'
import type { RetentionClock } from './clock-store.js'
import type { Hold, HoldScope, RetentionDays, RetentionPolicy } from './contract.js'
import { forecast, type Forecast, type ForecastSegment, type HotLeaves } from './forecast.js'
import type { HoldService } from './holds.js'
import { createLeafTimes } from './leaf-times.js'
import { mayCover } from './policy.js'
import type { PolicyService } from './policies.js'

export const previewLimits = {
  /** Segments looked at, the oldest first. */
  maxSegments: 5_000,
  /** Generations of the log, the newest first. */
  maxGenerations: 50,
  /** Holds whose events are counted. */
  maxHolds: 50,
  /** Events of one hold that are counted. */
  maxCounted: 10_000,
  /** For one count. */
  maxCountMs: 500,
  /** Events whose mean size stands for all. */
  sampledEvents: 500,
} as const

/** Days ahead that a preview tells of, beside now. */
const horizonDays = [1, 7, 30, 90, 365] as const
const dayMs = 86_400_000

export interface HeldPreview {
  readonly holdId: string
  /** Hot events that the hold covers; null = not counted. `maxCounted` = so many or more. */
  readonly hotEvents: number | null
  /** Leaves of segments whose content is due now, in which there may be events that it covers. */
  readonly dueLeavesAtMost: number
}

export interface Preview extends Forecast {
  readonly organizationId: string
  readonly now: Date
  /** `leapt`: the clocks are not believed, and nothing moves or goes until they are. */
  readonly clock: 'steady' | 'leapt'
  readonly days: RetentionDays
  /** Null for a candidate. */
  readonly version: number | null
  readonly hotBytesEach: number
  readonly held: readonly HeldPreview[]
  readonly partial: boolean
}

export interface PreviewDependencies {
  readonly db: Db
  readonly log: Pick<LogStore, 'head'>
  readonly policies: Pick<PolicyService, 'counting'>
  readonly holds: Pick<HoldService, 'active'>
  readonly clock: Pick<RetentionClock, 'peek'>
}

/** Tells what the policy, or a candidate for it, would do. */
export type PreviewRetention = (organizationId: string, candidate?: RetentionDays) => Promise<Preview>

export function createPreview({ db, log, policies, holds, clock }: PreviewDependencies): PreviewRetention {
  const events = eventCollection(db)
  const segments: Collection<SegmentDocument> = db.collection(collectionNames.archiveSegments)

  async function segmentsOf(organizationId: string, active: ReadonlySet<string>) {
    const projection = {
      ...{ generation: 1, from: 1, to: 1, leaves: 1, sealedTo: 1, occurredFrom: 1, occurredTo: 1 },
      ...{ 'content.state': 1, 'content.file.bytes': 1, 'records.file.bytes': 1, 'contentExpiry.holds': 1 },
      'recordExpiry.holds': 1,
    }
    const found = await segments
      .find({ organizationId }, { projection })
      .sort({ generation: 1, from: 1 })
      .limit(previewLimits.maxSegments)
      .toArray()
    return found.map((document) => forecastSegment(document, active))
  }

  /** The hot leaves of each generation: what lies right of its last segment. */
  async function hotLeavesOf(organizationId: string): Promise<{ hot: HotLeaves[]; all: boolean }> {
    const times = createLeafTimes(db)
    const newest = (await log.head(organizationId))?.generation ?? 0
    const oldest = Math.max(1, newest - previewLimits.maxGenerations + 1)
    const hot: HotLeaves[] = []
    for (let generation = oldest; generation <= newest; generation += 1) {
      const head = await log.head(organizationId, generation)
      if (head === undefined || head.size === 0) continue
      const [last] = await segments
        .find({ organizationId, generation }, { projection: { to: 1 } })
        .sort({ generation: -1, from: -1 })
        .limit(1)
        .toArray()
      const extent = { organizationId, generation, size: head.size }
      hot.push({
        generation,
        from: last?.to ?? 0,
        size: head.size,
        sealedBy: (moment) => times.sealedBy(extent, moment),
        sealedAt: (leaf) => times.sealedAt(extent, leaf),
      })
    }
    return { hot, all: oldest === 1 }
  }

  /** The mean BSON size of the oldest events by `occurredAt`: those that move first, as a rule. */
  async function meanEventBytes(organizationId: string): Promise<number> {
    const [mean] = await events
      .aggregate<{ bytes: number }>(
        [
          { $match: { organizationId } },
          { $sort: { occurredAt: 1, _id: 1 } },
          { $limit: previewLimits.sampledEvents },
          { $group: { _id: null, bytes: { $avg: { $bsonSize: '$$ROOT' } } } },
        ],
        { hint: eventIndexes.time },
      )
      .toArray()
    return Math.round(mean?.bytes ?? 0)
  }

  /** How many hot events a hold covers; null where counting took too long. */
  async function countHot(organizationId: string, scope: HoldScope): Promise<number | null> {
    const filter = heldFilter(organizationId, scope)
    const { maxCounted: limit, maxCountMs: maxTimeMS } = previewLimits
    try {
      return await events.countDocuments(filter, { limit, maxTimeMS })
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === maxTimeExpired) return null
      throw error
    }
  }

  async function heldBy(
    organizationId: string,
    active: readonly Hold[],
    due: readonly ForecastSegment[],
  ): Promise<HeldPreview[]> {
    const held: HeldPreview[] = []
    for (const { id, scope } of active.slice(0, previewLimits.maxHolds)) {
      const dueLeavesAtMost = due
        .filter(({ occurredFrom, occurredTo }) => mayCover(scope, occurredFrom, occurredTo))
        .reduce((leaves, segment) => leaves + segment.leaves, 0)
      held.push({ holdId: id, hotEvents: await countHot(organizationId, scope), dueLeavesAtMost })
    }
    return held
  }

  return async (organizationId, candidate) => {
    const { now, verdict } = await clock.peek()
    const counting = await policies.counting(organizationId, now)
    const current = newestOf(counting)
    const versions: readonly RetentionPolicy[] =
      candidate === undefined ? counting : [...counting, asNext(current, candidate, now)]
    const active = await holds.active(organizationId)
    const found = await segmentsOf(organizationId, new Set(active.map(({ id }) => id)))
    const { hot, all } = await hotLeavesOf(organizationId)
    const hotBytesEach = await meanEventBytes(organizationId)
    const dates: [Date, ...Date[]] = [
      now,
      ...horizonDays.map((days) => new Date(now.getTime() + days * dayMs)),
    ]
    const result = await forecast({ versions, dates, segments: found, hot, hotBytesEach })
    const due = found.filter(({ generation, from, to }) =>
      result.ranges.content.some(
        (range) => range.generation === generation && range.from <= from && to <= range.to,
      ),
    )
    const { hotDays, archiveDays, recordDays } = candidate ?? current
    return {
      organizationId,
      now,
      clock: verdict,
      days: { hotDays, archiveDays, recordDays },
      version: candidate === undefined ? current.version : null,
      hotBytesEach,
      held: await heldBy(organizationId, active, due),
      partial: !all || found.length === previewLimits.maxSegments || active.length > previewLimits.maxHolds,
      ...result,
    }
  }
}

/** MaxTimeMSExpired. */
const maxTimeExpired = 50

const newestOf = (policies: readonly RetentionPolicy[]): RetentionPolicy =>
  policies.reduce((a, b) => (b.version > a.version ? b : a))

const asNext = (current: RetentionPolicy, candidate: RetentionDays, now: Date): RetentionPolicy => ({
  ...current,
  ...candidate,
  version: current.version + 1,
  since: now < current.since ? current.since : now,
})

/** The hot events that a hold covers, through the index of terms where it names a person or an action. */
function heldFilter(organizationId: string, { subjects, action, from, to }: HoldScope): Filter<StoredEvent> {
  const required: bigint[][] = []
  if (subjects !== undefined) {
    const terms = subjects.flatMap((one) => [clearTerm('actorSubject', one), clearTerm('targetSubject', one)])
    required.push(terms)
  }
  if (action !== undefined) required.push([actionTerm(action)])
  const occurredAt = {
    ...(from === undefined ? {} : { $gte: from }),
    ...(to === undefined ? {} : { $lt: to }),
  }
  return {
    organizationId,
    ...(Object.keys(occurredAt).length === 0 ? {} : { occurredAt }),
    ...(required.length === 0 ? {} : { $and: required.map((terms) => ({ 'fields.terms': { $in: terms } })) }),
  }
}

const actionTerm = (action: string): bigint =>
  action.endsWith('.*')
    ? clearTerm('actionPrefix', action.slice(0, -2).split('.').slice(0, maxPrefixes).join('.'))
    : clearTerm('action', action)

/** Where expiry has looked, what it left is due again once one of the holds that kept it is released. */
function forecastSegment(document: SegmentDocument, active: ReadonlySet<string>): ForecastSegment {
  const { generation, from, to, leaves, sealedTo, occurredFrom, occurredTo, records } = document
  const { content, contentExpiry, recordExpiry } = document
  const mayGo = (look: ExpiryLook | null | undefined) => look?.holds.some((hold) => !active.has(hold)) ?? true
  const isThere = content !== null && content.state !== 'expired'
  return {
    ...{ generation, from, to, leaves, sealedTo, occurredFrom, occurredTo },
    content: isThere && mayGo(contentExpiry) ? { bytes: content.file.bytes } : null,
    records: records !== null && mayGo(recordExpiry) ? { bytes: records.file.bytes } : null,
  }
}
