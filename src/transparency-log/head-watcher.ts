/**
 * Waiting for a log to grow. However many wait in this process, and for however many logs, the database is asked one
 * question five times a second, and none while nobody waits.
 */
import type { Collection } from 'mongodb'
import { AnnalsError } from '../errors.js'
import type { LogHeadDocument } from './store.js'

/** A leaf's address; the next one to be read, where a reader's place is meant. */
export interface LeafAddress {
  readonly generation: number
  readonly index: number
}

export interface WaitOptions {
  readonly waitMs: number
  /** Ends the wait early: the client is gone, or the process is about to stop. */
  readonly signal: AbortSignal
}

export interface HeadWatcher {
  /**
   * Resolves when the log may have the leaf at `next`, or another generation; when the time is over; or when the
   * signal says so. Never says which: look.
   * @throws AnnalsError `overloaded` where too many wait already
   */
  waitFor(organizationId: string, next: LeafAddress, options: WaitOptions): Promise<void>
}

interface Waiting {
  readonly organizationId: string
  readonly next: LeafAddress
  readonly wake: () => void
}

const pauseMs = 200
/** Each holds a connection and next to nothing else. */
const maxWaiting = 2_000

export function createHeadWatcher(heads: Collection<LogHeadDocument>): HeadWatcher {
  const waiting = new Set<Waiting>()
  let timer: NodeJS.Timeout | undefined

  async function look(): Promise<void> {
    const ids = [...new Set([...waiting].map(({ organizationId }) => organizationId))]
    const known = new Map<string, Pick<LogHeadDocument, 'generation' | 'size'>>()
    try {
      const found = heads.find({ _id: { $in: ids } }, { projection: { generation: 1, size: 1 } })
      for await (const { _id, generation, size } of found) known.set(_id, { generation, size })
    } catch {
      // Each reads for itself what is wrong, and answers it.
      for (const { wake } of waiting) wake()
    }
    for (const { organizationId, next, wake } of waiting) {
      const head = known.get(organizationId)
      if (head !== undefined && (head.generation !== next.generation || head.size > next.index)) wake()
    }
    schedule()
  }

  function schedule(): void {
    timer = waiting.size === 0 ? undefined : setTimeout(() => void look(), pauseMs)
  }

  return {
    async waitFor(organizationId, next, { waitMs, signal }) {
      if (signal.aborted) return
      if (waiting.size >= maxWaiting) {
        throw new AnnalsError('overloaded', 'Too many readers wait for the log to grow.', {
          retryAfterSeconds: 5,
        })
      }
      await new Promise<void>((resolve) => {
        const wake = () => {
          clearTimeout(late)
          signal.removeEventListener('abort', wake)
          waiting.delete(one)
          resolve()
        }
        const one: Waiting = { organizationId, next, wake }
        const late = setTimeout(wake, waitMs)
        signal.addEventListener('abort', wake)
        waiting.add(one)
        if (timer === undefined) schedule()
      })
    },
  }
}
