import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { FreshCache } from '../../../src/fresh-cache.js'

interface Box {
  readonly load: number
}

function counting(maxAgeMs: number, delayMs = 0) {
  let loads = 0
  const cache = new FreshCache<Box>({
    max: 2,
    maxAgeMs,
    load: async (key) => {
      const load = ++loads
      await sleep(delayMs)
      if (key === 'broken') throw new Error('broken')
      return key === 'absent' ? undefined : { load }
    },
  })
  return { cache, loads: () => loads }
}

it('overlapping loads of a key are one load', async () => {
  const { cache, loads } = counting(60_000, 10)
  const boxes = await Promise.all([cache.get('a'), cache.get('a'), cache.get('a')])
  expect([boxes.map((box) => box?.load), loads()]).toEqual([[1, 1, 1], 1])
  expect(cache.peek('a')).toEqual({ load: 1 })
})

it('an entry is at most as old as allowed, counted from before it was loaded', async () => {
  const { cache } = counting(60, 40)
  await cache.get('a')
  await sleep(40)
  expect(cache.peek('a')).toBeUndefined()
})

it('what was forgotten while it loaded is loaded again, and the old load is not kept', async () => {
  const { cache } = counting(60_000, 10)
  const before = cache.get('a')
  cache.forget('a')
  const after = cache.get('a')
  expect([await before, await after]).toEqual([{ load: 1 }, { load: 2 }])
  expect(cache.peek('a')).toEqual({ load: 2 })
})

it('absence and failure are not kept, and the number of entries is bounded', async () => {
  const { cache, loads } = counting(60_000)
  expect(await cache.get('absent')).toBeUndefined()
  expect(await cache.get('absent')).toBeUndefined()
  await expect(cache.get('broken')).rejects.toThrow('broken')
  await expect(cache.get('broken')).rejects.toThrow('broken')
  expect(loads()).toBe(4)
  for (const key of ['a', 'b', 'c']) await cache.get(key)
  expect(cache.peek('a')).toBeUndefined()
})
