/**
 * How many events a key may post in a minute, where its owner set a limit. Counted in each API process by itself: with
 * several processes behind a balancer a key gets up to that many times its limit, which protects each process as meant.
 */
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible'
import { AnnalsError } from '../errors.js'
import type { Caller } from './contract.js'

export interface RateLimits {
  /**
   * Counts events against the caller's key; undefined where it has no limit.
   * @throws AnnalsError `rate_limited`, with the seconds until there is room
   */
  take(caller: Caller, events: number): Promise<void> | undefined
}

const windowSeconds = 60

export function createRateLimits(): RateLimits {
  // One limiter for each different limit; there are as many as owners made up, and each is a few hundred bytes.
  const limiters = new Map<number, RateLimiterMemory>()
  const limiterFor = (points: number): RateLimiterMemory => {
    let limiter = limiters.get(points)
    if (limiter === undefined) {
      limiter = new RateLimiterMemory({ points, duration: windowSeconds })
      limiters.set(points, limiter)
    }
    return limiter
  }
  return {
    take(caller, events) {
      const { eventsPerMinute } = caller
      return eventsPerMinute === null ? undefined : consume(limiterFor(eventsPerMinute), caller.keyId, events)
    },
  }
}

async function consume(limiter: RateLimiterMemory, keyId: string, events: number): Promise<void> {
  try {
    await limiter.consume(keyId, events)
  } catch (refusal) {
    if (!(refusal instanceof RateLimiterRes)) throw refusal
    // What was refused is not held against the key: a client that comes back in time is let in.
    await limiter.reward(keyId, events)
    const limit = `This key may post ${String(limiter.points)} events in a minute.`
    throw new AnnalsError('rate_limited', limit, {
      retryAfterSeconds: Math.max(1, refusal.msBeforeNext / 1_000),
    })
  }
}
