import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { createProgress } from '../../../src/cli/import/progress.js'
import { createLeafProgress } from '../../../src/cli/verify/progress.js'

const written: string[] = []
const out = { write: (text: string) => written.push(text) > 0 }

beforeEach(() => {
  written.length = 0
  vi.useFakeTimers({ toFake: ['performance'], now: 0 })
})
afterEach(() => {
  vi.useRealTimers()
})

test('a bar on a terminal is drawn over itself, with share, place and rate, and goes at the end', () => {
  const progress = createLeafProgress(out, 'terminal', 'verify')
  progress.update(1_000, 4_000)
  expect(written).toEqual([])
  vi.advanceTimersByTime(1_000)
  progress.update(3_000, 4_000)
  progress.update(3_001, 4_000)
  progress.end()
  expect(written).toEqual([
    '\r\u001b[K[##################------]  75 %  leaf 3,000 of 4,000  2,000/s',
    '\r\u001b[K',
  ])
})

test('where there is no terminal a line says so now and then, and what was refused', () => {
  const progress = createProgress(out, 'plain')
  progress.update({ line: 10, share: undefined, rejected: 0 })
  vi.advanceTimersByTime(5_000)
  progress.update({ line: 5_010, share: undefined, rejected: 3 })
  vi.advanceTimersByTime(5_000)
  progress.update({ line: 10_010, share: 0.5, rejected: 3 })
  progress.end()
  expect(written).toEqual([
    'import: line 5,010  1,000/s  3 refused\n',
    'import:  50 %  line 10,010  1,000/s  3 refused\n',
  ])
})

test('nothing is shown where nobody looks', () => {
  const progress = createLeafProgress(out, 'none', 'verify')
  vi.advanceTimersByTime(60_000)
  progress.update(1, 2)
  progress.end()
  expect(written).toEqual([])
})
