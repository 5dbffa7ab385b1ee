/**
 * Which period is the current one, which are retired, and which were deleted: one document of the database, changed by
 * compare-and-set alone. No key is in it.
 *
 *     next      a period whose key is being made
 *     current   what new keys are wrapped under, from `switch` on
 *     retired   earlier periods whose keys are still kept
 *
 * A process may go by what it read here for the length of a lease (period-keys.ts).
 */
import type { ClientSession, Collection, Db } from 'mongodb'
import { collectionNames } from '../mongo/collections.js'

export interface RetiredPeriod {
  readonly period: number
  readonly at: Date
  /** Its file is being deleted: that it is not there is no error any more. */
  readonly deleting?: true
}

export interface PeriodState {
  readonly current: number
  readonly since: Date
  /** Which rotation made the current period. */
  readonly run: string | null
  readonly next: { readonly period: number; readonly run: string; readonly notedAt: Date } | null
  /** Oldest first. */
  readonly retired: readonly RetiredPeriod[]
  /** This period and all before it were deleted by a rotation. */
  readonly deletedThrough: number
  /** The last deletion: when, and how many keys were wrapped anew for it. */
  readonly last: { readonly at: Date; readonly rewrapped: number } | null
  /** Keys that were wrapped anew since the last deletion. */
  readonly rewrapped: number
}

interface PeriodStateDocument extends PeriodState {
  readonly _id: 'periods'
  /** Grows with each transaction that counts on the current period. */
  readonly pins: number
}

/** A key was wrapped under a period that is the current one no more: wrap it anew. */
export class PeriodMovedError extends Error {
  override readonly name = 'PeriodMovedError'
}

export interface PeriodStates {
  read(): Promise<PeriodState | undefined>
  /** Notes the periods that a new deployment, or one of before this document, has. */
  ensure(periods: readonly number[]): Promise<void>
  /** Notes the period that `run` makes, unless one is being made: that one it is then. @returns the state afterwards */
  noteNext(period: number, run: string): Promise<PeriodState>
  /** Makes the period that is being made the current one. @param also earlier ones that nobody noted */
  switch(period: number, also: readonly number[]): Promise<PeriodState>
  addRewrapped(count: number): Promise<void>
  /** Before the file of a period goes. */
  noteDeleting(period: number): Promise<void>
  /** After the file of a period went. */
  noteDeleted(period: number): Promise<void>
  /** Holds the current period still until the transaction ends. @throws PeriodMovedError where it is another */
  pin(period: number, session: ClientSession): Promise<void>
}

export function periodStates(db: Db): PeriodStates {
  const states: Collection<PeriodStateDocument> = db.collection(collectionNames.deployment)
  const _id = 'periods'

  async function read(): Promise<PeriodState | undefined> {
    return (await states.findOne({ _id })) ?? undefined
  }

  async function required(): Promise<PeriodState> {
    const state = await read()
    if (state === undefined) throw new Error('the database does not say which period is the current one')
    return state
  }

  return {
    read,
    async ensure(periods) {
      const sorted = [...periods].sort((a, b) => a - b)
      const current = sorted.pop()
      if (current === undefined) throw new Error('a deployment has a period key')
      const at = new Date()
      const first: Omit<PeriodStateDocument, '_id'> = {
        current,
        since: at,
        run: null,
        next: null,
        retired: sorted.map((period) => ({ period, at })),
        deletedThrough: 0,
        last: null,
        rewrapped: 0,
        pins: 0,
      }
      await states.updateOne({ _id }, { $setOnInsert: first }, { upsert: true })
    },
    async noteNext(period, run) {
      const next = { period, run, notedAt: new Date() }
      await states.updateOne({ _id, next: null, current: { $lt: period } }, { $set: { next } })
      return required()
    },
    async switch(period, also) {
      const { current, next, retired } = await required()
      if (next?.period === period) {
        const at = new Date()
        const known = new Set([period, ...retired.map((one) => one.period)])
        const more = [...new Set([...also, current])].filter((one) => !known.has(one) && one < period)
        const all = [...retired, ...more.map((one) => ({ period: one, at }))]
        await states.updateOne(
          { _id, current, 'next.period': period },
          {
            $set: {
              current: period,
              since: at,
              run: next.run,
              next: null,
              retired: all.sort((a, b) => a.period - b.period),
            },
          },
        )
      }
      return required()
    },
    async addRewrapped(count) {
      await states.updateOne({ _id }, { $inc: { rewrapped: count } })
    },
    async noteDeleting(period) {
      await states.updateOne(
        { _id, current: { $gt: period }, 'retired.period': period },
        { $set: { 'retired.$.deleting': true } },
      )
    },
    async noteDeleted(period) {
      // A pipeline: the count moves into `last` in the same write.
      await states.updateOne({ _id, current: { $gt: period }, 'retired.period': period }, [
        {
          $set: {
            retired: { $filter: { input: '$retired', cond: { $ne: ['$$this.period', period] } } },
            deletedThrough: { $max: ['$deletedThrough', period] },
            last: { at: '$$NOW', rewrapped: '$rewrapped' },
            rewrapped: 0,
          },
        },
      ])
    },
    async pin(period, session) {
      const { matchedCount } = await states.updateOne(
        { _id, current: period },
        { $inc: { pins: 1 } },
        { session },
      )
      if (matchedCount === 0) throw new PeriodMovedError('the period has changed')
    },
  }
}
