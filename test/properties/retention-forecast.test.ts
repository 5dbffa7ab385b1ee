/** A forecast against the plainest reading of the policy: every leaf looked at, one by one. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { forecast, type ForecastSegment } from '../../src/retention/forecast.js'
import { expiryDays, type PolicyVersion } from '../../src/retention/policy.js'

const day = 86_400_000
const start = Date.parse('2026-01-01T00:00:00Z')

const days = fc
  .tuple(fc.integer({ min: 0, max: 40 }), fc.option(fc.integer({ min: 0, max: 40 })), fc.boolean())
  .map(([hotDays, more, records]) => ({
    hotDays,
    archiveDays: more === null ? null : hotDays + more,
    recordDays: more === null || records ? null : hotDays + more + 10,
  }))

const world = fc.record({
  steps: fc.array(fc.integer({ min: 0, max: 2 * day }), { minLength: 1, maxLength: 60 }),
  lengths: fc.array(
    fc.record({
      leaves: fc.integer({ min: 1, max: 9 }),
      hasContent: fc.boolean(),
    }),
    {
      maxLength: 8,
    },
  ),
  versions: fc.array(days, { minLength: 1, maxLength: 3 }),
  now: fc.oneof(fc.integer({ min: 0, max: 20 * day }), fc.integer({ min: 0, max: 150 * day })),
})

test('counts what is due, leaf by leaf, and names when the next is', async () => {
  await fc.assert(
    fc.asyncProperty(world, async ({ steps, lengths, versions: wanted, now: nowMs }) => {
      const sealed = steps.reduce<number[]>((all, step) => [...all, (all.at(-1) ?? start) + step], [])
      const segments: ForecastSegment[] = []
      let from = 0
      for (const { leaves, hasContent } of lengths) {
        const to = Math.min(from + leaves, sealed.length)
        if (to === from) break
        const moment = new Date(sealed[to - 1] ?? NaN)
        segments.push({
          ...{ generation: 1, from, to, leaves: to - from },
          ...{ sealedTo: moment, occurredFrom: moment, occurredTo: moment },
          content: hasContent ? { bytes: 10 * (to - from) } : null,
          records: { bytes: to - from },
        })
        from = to
      }
      const hot = {
        generation: 1,
        from,
        size: sealed.length,
        sealedBy: (moment: Date) => Promise.resolve(sealed.filter((at) => at <= moment.getTime()).length),
        sealedAt: (leaf: number) => Promise.resolve(new Date(sealed[leaf] ?? NaN)),
      }
      const versions = wanted.map((policy, version): PolicyVersion => {
        return { ...policy, version, since: new Date(version === 0 ? 0 : start + version * 3 * day) }
      })
      const now = new Date(start + nowMs)
      const later = new Date(now.getTime() + 20 * day)
      const found = await forecast({ versions, dates: [now, later], segments, hot: [hot], hotBytesEach: 100 })

      for (const [position, at] of [now, later].entries()) {
        const by = expiryDays(versions, at)
        const old = (ms: number, limit: number | null) => limit !== null && at.getTime() - ms >= limit * day
        const hotLeaves = sealed.slice(from)
        const archive = hotLeaves.filter((ms) => old(ms, by.hotDays)).length
        const hotContent = hotLeaves.filter((ms) => old(ms, by.archiveDays)).length
        const contentDue = segments.filter(
          (one) => one.content !== null && old(one.sealedTo.getTime(), by.archiveDays),
        )
        const segmentContent = contentDue.reduce((sum, one) => sum + one.leaves, 0)
        expect(found.dates[position]).toMatchObject({
          archive: { leaves: archive, bytes: archive * 100 },
          content: { leaves: hotContent + segmentContent, bytes: hotContent * 100 + segmentContent * 10 },
        })
        if (position === 0) {
          const covered = found.ranges.content.reduce((sum, range) => sum + range.to - range.from, 0)
          expect(covered).toBe(hotContent + segmentContent)
        }
      }

      // At the date of the next there is more due than now, and a millisecond before it there is not.
      for (const what of ['archive', 'content', 'records'] as const) {
        const next = found.next[what]
        if (next === null) continue
        expect(next.getTime()).toBeGreaterThan(now.getTime())
        const before = new Date(next.getTime() - 1)
        const dates: [Date, ...Date[]] = [now, before, next]
        const around = await forecast({ versions, dates, segments, hot: [hot], hotBytesEach: 1 })
        const leaves = around.dates.map((date) => date[what].leaves)
        expect(leaves[1]).toBe(leaves[0])
        expect(leaves[2]).toBeGreaterThan(leaves[0] ?? NaN)
      }
    }),
    { numRuns: 300 },
  )
})
