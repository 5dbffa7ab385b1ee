import { expect, test } from 'vitest'
import { leavesWithin, maxSegmentHotBytes, nextRange, planLimits } from '../../../src/retention/planning.js'

test('a segment ends with a tile where it ends before what is due', () => {
  expect(nextRange(0, 0)).toBeUndefined()
  expect(nextRange(300, 301)).toEqual({ from: 300, to: 301 })
  expect(nextRange(0, 100_000)).toEqual({ from: 0, to: planLimits.maxLeaves })
  expect(nextRange(300, 100_000, { maxLeaves: 512 })).toEqual({ from: 300, to: 768 })
  expect(nextRange(300, 400, { maxLeaves: 50 })).toEqual({ from: 300, to: 350 })
})

test('where the events before were large, fewer leaves are taken, and always a tile', () => {
  const like = (bytesEach: number) => leavesWithin({ leaves: 1_000, hotBytes: 1_000 * bytesEach }, planLimits)
  expect(leavesWithin(undefined, planLimits)).toBe(planLimits.maxLeaves)
  expect(like(1_500)).toBe(planLimits.maxLeaves)
  for (const bytesEach of [8_192, 65_536, 262_144]) {
    expect(like(bytesEach) * bytesEach).toBeLessThan(maxSegmentHotBytes)
    expect(like(bytesEach) * bytesEach).toBeGreaterThan(maxSegmentHotBytes / 2)
    expect(like(bytesEach) % 256).toBe(0)
  }
  expect(like(100 * 1_024 ** 2)).toBe(256)
})
