/** Asks the clocks for retention, and keeps what was seen in `deployment`, where every worker sees the same. */
import type { Collection, Db } from 'mongodb'
import { z } from 'zod'
import { collectionNames } from '../mongo/collections.js'
import { isDuplicateKey } from '../mongo/unavailable.js'
import { observeClocks, type ClockState, type TrustedTime } from './clock.js'

interface ClockDocument extends ClockState {
  readonly _id: 'retentionClock'
  /** Grows with each look: of two at once, one looks again. */
  readonly look: number
}

export interface RetentionClock {
  /** The time to go by, noting what was seen. Each sweep and each deletion asks for it. */
  look(): Promise<TrustedTime>
  /** The same without noting anything: for previews and figures. */
  peek(): Promise<TrustedTime>
}

export interface RetentionClockOptions {
  readonly now?: () => Date
  /** For tests. */
  readonly databaseNow?: () => Promise<Date>
}

const maxAttempts = 10

export function createRetentionClock(db: Db, options: RetentionClockOptions = {}): RetentionClock {
  const clocks: Collection<ClockDocument> = db.collection(collectionNames.deployment)
  const now = options.now ?? (() => new Date())
  const databaseNow = options.databaseNow ?? (() => databaseTime(db))

  async function observe() {
    const before = await clocks.findOne({ _id: 'retentionClock' })
    const database = await databaseNow()
    return { before, ...observeClocks(before ?? undefined, [now(), database]) }
  }

  return {
    async look() {
      for (let attempt = 0; attempt < maxAttempts; attempt += 1) {
        const { before, time, state } = await observe()
        const look = before?.look ?? 0
        try {
          const { matchedCount, upsertedCount } = await clocks.updateOne(
            { _id: 'retentionClock', look },
            { $set: { ...state, look: look + 1 } },
            { upsert: before === null },
          )
          if (matchedCount + upsertedCount === 1) return time
        } catch (error) {
          if (!isDuplicateKey(error)) throw error
        }
      }
      throw new Error('the clock of retention is looked at by too many at once')
    },
    peek: async () => (await observe()).time,
  }
}

const hello = z.object({ localTime: z.date() })

/** What the clock of the primary says. */
export async function databaseTime(db: Db): Promise<Date> {
  return hello.parse(await db.command({ hello: 1 })).localTime
}
