import { expect, test } from 'vitest'
import { tickBatch } from '../../src/tick-batch.js'

test('questions of one turn are asked together, in order, each with its own answer', async () => {
  const asked: number[][] = []
  const double = tickBatch<number, number>((numbers) => {
    asked.push([...numbers])
    return Promise.resolve(numbers.map((number) => number * 2))
  }, 3)
  expect(await Promise.all([1, 2, 3, 4].map(double))).toEqual([2, 4, 6, 8])
  expect(await double(5)).toBe(10)
  expect(asked).toEqual([[1, 2, 3], [4], [5]])
})

test('a failure reaches everyone who asked in that turn, and nobody after', async () => {
  let fails = true
  const ask = tickBatch<number, number>(
    (numbers) => (fails ? Promise.reject(new Error('away')) : Promise.resolve([...numbers])),
    10,
  )
  const results = await Promise.allSettled([ask(1), ask(2)])
  expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
  fails = false
  expect(await ask(3)).toBe(3)
})
