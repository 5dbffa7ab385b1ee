import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { FairQueue } from '../../src/events/fair-queue.js'

const bounds = { maxItems: 60, maxBytes: 6_000 }

describe('the fair queue', () => {
  test('keeps its bounds, loses nothing, doubles nothing, and keeps each lane in order', () => {
    const step = fc.oneof(
      fc.record({ put: fc.constantFrom('a', 'b', 'c', 'd'), bytes: fc.integer({ min: 1, max: 500 }) }),
      fc.record({ take: fc.integer({ min: 1, max: 20 }) }),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
        const queue = new FairQueue<{ lane: string; n: number; bytes: number }>(bounds)
        const put = new Map<string, number>()
        const taken = new Map<string, number[]>()
        let n = 0
        let held = 0
        for (const one of steps) {
          if ('put' in one) {
            if (!queue.hasRoom(one.put, 1, one.bytes)) continue
            queue.put(one.put, { lane: one.put, n: (n += 1), bytes: one.bytes }, one.bytes)
            put.set(one.put, (put.get(one.put) ?? 0) + 1)
            held += one.bytes
            expect(queue.items).toBeLessThanOrEqual(bounds.maxItems)
            expect(held).toBeLessThanOrEqual(bounds.maxBytes)
          } else {
            for (const { item, release } of queue.take(one.take, 1_000)) {
              taken.set(item.lane, [...(taken.get(item.lane) ?? []), item.n])
              held -= item.bytes
              release()
            }
          }
        }
        for (const { item, release } of queue.take(1_000, 1_000_000)) {
          taken.set(item.lane, [...(taken.get(item.lane) ?? []), item.n])
          release()
        }
        expect(queue.items).toBe(0)
        expect(queue.waiting).toBe(0)
        for (const [lane, count] of put) {
          const order = taken.get(lane) ?? []
          expect(order).toHaveLength(count)
          expect(order).toEqual([...order].sort((a, b) => a - b))
        }
      }),
    )
  })

  test('a lane that fills up leaves room for the others, and they do not wait behind it', () => {
    const queue = new FairQueue<string>(bounds)
    while (queue.hasRoom('noisy', 1, 1)) queue.put('noisy', 'noisy', 1)
    expect(queue.items).toBe(30)
    for (const quiet of ['one', 'two']) {
      expect(queue.hasRoom(quiet, 1, 1)).toBe(true)
      queue.put(quiet, quiet, 1)
    }
    expect(queue.hasRoom('noisy', 1, 1)).toBe(false)
    expect(queue.take(3, 100).map(({ item }) => item)).toEqual(['noisy', 'one', 'two'])
  })

  test('what is under way still counts, until it is released', () => {
    const queue = new FairQueue<number>({ maxItems: 2, maxBytes: 100 })
    queue.put('a', 1, 1)
    const [taken] = queue.take(1, 100)
    expect(queue.items).toBe(1)
    expect(queue.waiting).toBe(0)
    taken?.release()
    expect(queue.items).toBe(0)
  })

  test('one item larger than a whole group is taken alone', () => {
    const queue = new FairQueue<string>({ maxItems: 10, maxBytes: 10_000 })
    queue.put('a', 'large', 5_000)
    queue.put('a', 'small', 1)
    expect(queue.take(10, 100).map(({ item }) => item)).toEqual(['large'])
  })
})
