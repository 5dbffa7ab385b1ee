import fc from 'fast-check'
import { expect, test } from 'vitest'
import { observeClocks, type ClockState } from '../../src/retention/clock.js'
import {
  archiveCutoff,
  contentCutoff,
  expiryDays,
  policyGraceMs,
  recordsCutoff,
  retentionProblems,
  type PolicyVersion,
} from '../../src/retention/policy.js'

const day = 86_400_000
const moment = fc.integer({ min: 0, max: 80 * 365 }).map((days) => new Date(days * day))
const nearby = fc.integer({ min: 0, max: 40 * day })
const few = fc.integer({ min: 0, max: 60 })

/** Versions one after the other, each in order in itself. */
const history = fc
  .array(fc.record({ after: nearby, hot: few, archive: fc.option(few), record: fc.option(few) }), {
    minLength: 1,
    maxLength: 6,
  })
  .map((changes) => {
    let since = 0
    return changes.map(({ after, hot, archive, record }, version): PolicyVersion => {
      since += version === 0 ? 0 : after
      const archiveDays = archive === null ? null : hot + archive
      const recordDays = archiveDays === null || record === null ? null : archiveDays + record
      return { version, since: new Date(since), hotDays: hot, archiveDays, recordDays }
    })
  })

/** What would go and move at a moment: sealed at this or before; nothing where it is null. */
const due = (versions: readonly PolicyVersion[], now: Date) => {
  const days = expiryDays(versions, now)
  return {
    archive: archiveCutoff(now, days).getTime(),
    content: contentCutoff(now, days)?.getTime() ?? -Infinity,
    records: recordsCutoff(now, days)?.getTime() ?? -Infinity,
  }
}

test('an earlier now never makes more leaves due: a clock that was set back only delays', () => {
  fc.assert(
    fc.property(history, nearby, nearby, (versions, a, b) => {
      const [early, late] = [due(versions, new Date(Math.min(a, b))), due(versions, new Date(Math.max(a, b)))]
      expect(early.archive).toBeLessThanOrEqual(late.archive)
      expect(early.content).toBeLessThanOrEqual(late.content)
      expect(early.records).toBeLessThanOrEqual(late.records)
    }),
  )
})

test('content goes only where every policy in force within the grace says so; records go after it, it after it is hot', () => {
  fc.assert(
    fc.property(history, nearby, nearby, (versions, ms, age) => {
      const now = new Date(ms)
      const sealedAt = ms - age
      const inForce = versions.filter((_, index) => {
        const next = versions[index + 1]
        return next === undefined || next.since.getTime() > ms - policyGraceMs
      })
      const goes = sealedAt <= due(versions, now).content
      const allowed = inForce.every(({ archiveDays }) => archiveDays !== null && age >= archiveDays * day)
      expect(goes).toBe(allowed)
      const days = expiryDays(versions, now)
      expect(days.archiveDays ?? Infinity).toBeLessThanOrEqual(days.recordDays ?? Infinity)
      expect(retentionProblems(days)).toEqual([])
    }),
  )
})

test('another policy never lets anything go earlier than the old one would have, or than seven days from now', () => {
  fc.assert(
    fc.property(
      history,
      few,
      fc.integer({ min: 0, max: policyGraceMs - 1 }),
      (versions, archiveDays, later) => {
        const last = versions.at(-1)
        if (last === undefined) return
        const since = new Date(last.since.getTime() + day)
        const added = { version: last.version + 1, since, hotDays: 0, archiveDays, recordDays: null }
        const then = new Date(since.getTime() + later)
        expect(due([...versions, added], then).content).toBeLessThanOrEqual(due(versions, then).content)
      },
    ),
  )
})

test('the trusted time is never ahead of any clock, and leaps by no more than the step unless it settled', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(moment, moment), { minLength: 1, maxLength: 30 }), (observations) => {
      let state: ClockState | undefined
      for (const [a, b] of observations) {
        const raw = Math.min(a.getTime(), b.getTime())
        const observed = observeClocks(state, [a, b])
        const { now, verdict } = observed.time
        expect(now.getTime()).toBeLessThanOrEqual(raw)
        if (state?.leaptTo === null)
          expect(now.getTime()).toBeLessThanOrEqual(state.trusted.getTime() + 3 * day)
        if (verdict === 'leapt') expect(now).toEqual(state?.trusted)
        state = observed.state
      }
    }),
  )
})
