/** When each key was last used: written behind the request, once a minute and key at most. */
import type { Logger } from '../logging.js'
import type { AccessKeyCollection } from './store.js'

export interface LastUse {
  used(keyId: string): void
  /** Writes what is waiting. */
  stop(): Promise<void>
}

const everyMs = 60_000
const writeDelayMs = 1_000
const maxTracked = 20_000

export function createLastUse(keys: AccessKeyCollection, logger: Logger): LastUse {
  /** Key id → when its use was last noted, by the monotonic clock. */
  const noted = new Map<string, number>()
  let waiting = new Map<string, Date>()
  let timer: NodeJS.Timeout | undefined

  async function write(): Promise<void> {
    timer = undefined
    const batch = waiting
    waiting = new Map()
    if (batch.size === 0) return
    try {
      await keys.bulkWrite(
        [...batch].map(([keyId, at]) => ({
          updateOne: { filter: { _id: keyId }, update: { $max: { lastUsedAt: at } } },
        })),
        { ordered: false },
      )
    } catch (error) {
      // A last use is a hint: it is written with the next use, and no request fails for it.
      logger.debug('access.last_use_not_written', { error, count: batch.size })
    }
  }

  return {
    used(keyId) {
      const now = performance.now()
      const last = noted.get(keyId)
      if (last !== undefined && now - last < everyMs) return
      if (noted.size >= maxTracked) noted.clear()
      noted.set(keyId, now)
      waiting.set(keyId, new Date())
      timer ??= setTimeout(() => void write(), writeDelayMs).unref()
    },
    async stop() {
      clearTimeout(timer)
      await write()
    },
  }
}
