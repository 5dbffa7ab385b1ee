import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createTurns } from '../../../activities/turns.js'

const limits = { large: 100, largeAtOnce: 1, smallAtOnce: 2 }
const never = new AbortController().signal

/** Steps that end when they are told to. */
function openEnded(turns: ReturnType<typeof createTurns>) {
  const begun: string[] = []
  const ends = new Map<string, { resolve: (value: string) => void; reject: (error: Error) => void }>()
  const take = (name: string, leaves: number, signal = never) =>
    turns(leaves, signal, () => {
      begun.push(name)
      return new Promise<string>((resolve, reject) => ends.set(name, { resolve, reject }))
    })
  return { begun, take, end: (name: string) => ends.get(name) }
}

describe('turns', () => {
  it('let so many work at once and the rest wait in order; a large segment keeps no small one waiting', async () => {
    const { begun, take, end } = openEnded(createTurns(limits))
    const taken = [
      take('year', 100),
      take('decade', 500),
      take('a', 1),
      take('b', 99),
      take('c', 2),
      take('d', 3),
    ]
    await expect.poll(() => begun).toEqual(['year', 'a', 'b'])
    end('b')?.resolve('b is done')
    expect(await taken[3]).toBe('b is done')
    await expect.poll(() => begun).toEqual(['year', 'a', 'b', 'c'])
    end('year')?.reject(new Error('the archive is full'))
    await expect(taken[0]).rejects.toThrow('the archive is full')
    await expect.poll(() => begun).toEqual(['year', 'a', 'b', 'c', 'decade'])
    for (const name of ['a', 'c', 'decade']) end(name)?.resolve(name)
    await expect.poll(() => begun).toContain('d')
    end('d')?.resolve('d')
    await Promise.all(taken.slice(1))
  })

  it('go on after a step that fails before it has begun', async () => {
    const turns = createTurns(limits)
    const broken = () => {
      throw new Error('no such segment')
    }
    await expect(turns(100, never, broken)).rejects.toThrow('no such segment')
    expect(await turns(100, never, () => Promise.resolve('next'))).toBe('next')
  })

  it('are given up at once by who is told to stop while waiting, and go to the next', async () => {
    const { begun, take, end } = openEnded(createTurns(limits))
    const stopping = new AbortController()
    const first = take('first', 100)
    const second = take('second', 100, stopping.signal)
    const third = take('third', 100)
    await expect.poll(() => begun).toEqual(['first'])
    stopping.abort(new Error('the worker is stopping'))
    await expect(second).rejects.toThrow('the worker is stopping')
    await expect(take('late', 1, stopping.signal)).rejects.toThrow('the worker is stopping')
    end('first')?.resolve('')
    await first
    await expect.poll(() => begun).toEqual(['first', 'third'])
    end('third')?.resolve('')
    await third
    // Whoever works is not interrupted from here: the step itself listens.
    const { begun: again, take: takeOne, end: endOne } = openEnded(createTurns(limits))
    const leaving = new AbortController()
    const working = takeOne('working', 1, leaving.signal)
    await expect.poll(() => again).toEqual(['working'])
    leaving.abort(new Error('too late'))
    endOne('working')?.resolve('ended')
    expect(await working).toBe('ended')
  })

  it('never let more work than they may, whoever fails or leaves, and end all', async () => {
    const step = fc.record({
      leaves: fc.integer({ min: 1, max: 200 }),
      ms: fc.integer({ min: 0, max: 3 }),
      fails: fc.boolean(),
      leavesAfterMs: fc.option(fc.integer({ min: 0, max: 5 }), { nil: undefined }),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
        const turns = createTurns(limits)
        const working = { large: 0, small: 0 }
        const most = { large: 0, small: 0 }
        const ended = await Promise.allSettled(
          steps.map(({ leaves, ms, fails, leavesAfterMs }) => {
            const size = leaves >= limits.large ? 'large' : 'small'
            const signal = leavesAfterMs === undefined ? never : AbortSignal.timeout(leavesAfterMs)
            return turns(leaves, signal, async () => {
              working[size] += 1
              most[size] = Math.max(most[size], working[size])
              await sleep(ms)
              working[size] -= 1
              if (fails) throw new Error('failed')
            })
          }),
        )
        expect(ended).toHaveLength(steps.length)
        expect(working).toEqual({ large: 0, small: 0 })
        expect(most.large).toBeLessThanOrEqual(limits.largeAtOnce)
        expect(most.small).toBeLessThanOrEqual(limits.smallAtOnce)
      }),
      { numRuns: 50 },
    )
  })
})
