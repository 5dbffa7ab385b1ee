/** Breaks one call of the methods that have an effect: what a matrix of failures goes through, one call after the other. */

export class Injected extends Error {
  override readonly name = 'Injected'
}

export interface Fault {
  /** How many calls there were: the matrix is at its end when there are fewer than `at`. */
  calls: number
  /** From 1. */
  readonly at: number
  readonly when: 'before' | 'after'
}

/** Makes the `at`-th call of the methods fail, before it or after it. */
export function failing<T extends object>(target: T, methods: readonly (keyof T)[], fault: Fault): T {
  return new Proxy(target, {
    get(object, key, receiver) {
      const member: unknown = Reflect.get(object, key, receiver)
      if (typeof member !== 'function' || !methods.includes(key as keyof T)) return member
      return async (...given: unknown[]): Promise<unknown> => {
        fault.calls += 1
        const now = fault.calls === fault.at
        if (now && fault.when === 'before') throw new Injected()
        const result: unknown = await Reflect.apply(member, object, given)
        if (now) throw new Injected()
        return result
      }
    },
  })
}
