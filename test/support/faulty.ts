/** Breaks one call of many: what a matrix of failures goes through, one call after the other. */
import type { Wrap } from './retaining.js'

export class Fault extends Error {}
export const faultKinds = ['error', 'persisted but errored', 'killed'] as const
export type FaultKind = (typeof faultKinds)[number]

/** What answers a stream or a cursor, and fails when it is read. */
const lazy: ReadonlySet<string | symbol> = new Set(['list', 'versions', 'aggregate', 'find'])

/** Counts the calls that wait for something, and breaks one of them; a process that was killed makes no further ones. */
export function faulty(at: number, kind: FaultKind): { wrap: Wrap; calls: () => number } {
  let calls = 0
  const wrap: Wrap = (target) =>
    new Proxy(target, {
      get(object, name) {
        const value: unknown = Reflect.get(object, name, object)
        if (typeof value !== 'function') return value
        return (...args: unknown[]): unknown => {
          const call = () => Reflect.apply(value, object, args) as unknown
          const answer = lazy.has(name) ? call() : undefined
          if (answer !== undefined && !(answer instanceof Promise)) return answer
          const hit = calls === at || (kind === 'killed' && calls > at)
          calls += 1
          if (!hit) return answer ?? call()
          // Nothing persists by reading.
          if (kind !== 'persisted but errored' || name === 'get') return Promise.reject(new Fault())
          return Promise.resolve(answer ?? call()).then(() => Promise.reject(new Fault()))
        }
      },
    })
  return { wrap, calls: () => calls }
}
