/**
 * How many steps over whole segments one process takes at once. A sweep may start two hundred, and each holds members,
 * buffers and connections while it works: the rest waits its turn, and beats meanwhile like any step that is slow. Large
 * segments have turns of their own, so that nobody's day waits for somebody else's year.
 */
import pLimit from 'p-limit'

export interface TurnLimits {
  /** Leaves from which on a segment is large. */
  readonly large: number
  readonly largeAtOnce: number
  readonly smallAtOnce: number
}

/** A large one keeps some 100 MiB of a process; small ones mostly wait for the archive to answer. */
export const turnLimits: TurnLimits = { large: 8_192, largeAtOnce: 2, smallAtOnce: 8 }

/**
 * Takes a step over so many leaves when its turn comes, in the order of asking.
 * @throws what the step throws; the reason of the signal where that is aborted while the step waits, which is then not taken
 */
export type Turns = <T>(leaves: number, signal: AbortSignal, step: () => Promise<T>) => Promise<T>

export function createTurns({ large, largeAtOnce, smallAtOnce }: TurnLimits = turnLimits): Turns {
  const ofLarge = pLimit(largeAtOnce)
  const ofSmall = pLimit(smallAtOnce)
  return (leaves, signal, step) =>
    new Promise((resolve, reject) => {
      const leave = () => reject(signal.reason as Error)
      if (signal.aborted) {
        leave()
        return
      }
      signal.addEventListener('abort', leave, { once: true })
      const turns = leaves >= large ? ofLarge : ofSmall
      void turns(async () => {
        signal.removeEventListener('abort', leave)
        // It was told so when it left; its turn goes to the next.
        if (!signal.aborted) await Promise.resolve().then(step).then(resolve, reject)
      })
    })
}
