/** The figures of retention for Prometheus: totals of the deployment, never of one organization. */
import { Counter, Gauge, type Registry } from 'prom-client'
import type { RunKind } from './contract.js'
import type { Retention } from './retention.js'
import type { RunTotals } from './runs.js'
import type { ArchiveSurvey } from './survey.js'

const maxAgeMs = 60_000

/**
 * Registers what any process can say: how old the oldest hot event is, how far archiving is behind, and how many runs
 * wait for an operator. The database is asked once a minute at most; where it is away the figures are absent.
 */
export function registerRetentionMetrics(
  registry: Registry,
  { survey, runs, clock }: Pick<Retention, 'survey' | 'runs' | 'clock'>,
): void {
  const surveyed = atMostEach(maxAgeMs, survey)
  const gauge = (name: string, help: string, ask: () => Promise<number>) => {
    new Gauge({
      name,
      help,
      registers: [registry],
      async collect() {
        try {
          this.set(await ask())
        } catch {
          this.reset()
          this.remove()
        }
      },
    })
  }
  const seconds = (ms: number) => Math.max(0, ms) / 1_000
  gauge(
    'annals_retention_hot_age_seconds',
    'Age of the oldest sealed event in the hot store, of all organizations.',
    async () => {
      const { oldestHot } = await surveyed()
      return oldestHot === null ? 0 : seconds(Date.now() - oldestHot.getTime())
    },
  )
  gauge(
    'annals_retention_archive_lag_seconds',
    'How long the event that is overdue most should have been in the archive by now; 0 where none is.',
    async () => seconds((await surveyed()).lagMs),
  )
  gauge(
    'annals_retention_due_organizations',
    'Organizations with events that are due to be archived.',
    async () => (await surveyed()).due,
  )
  gauge(
    'annals_retention_runs_needing_operator',
    'Runs of retention that stand still until somebody acts.',
    () => runs.countNeedingOperator(),
  )
  gauge(
    'annals_retention_clock_leapt',
    '1 while the clocks are far ahead of what was seen last: nothing is archived by them, and nothing expires.',
    async () => ((await clock.peek()).verdict === 'leapt' ? 1 : 0),
  )
}

/** Registers what the runs of this process have done. */
export function registerRunMetrics(registry: Registry, totals: () => ReadonlyMap<RunKind, RunTotals>): void {
  const counter = (name: string, help: string, of: (done: RunTotals) => number) => {
    new Counter({
      name,
      help,
      labelNames: ['kind'],
      registers: [registry],
      collect() {
        this.reset()
        for (const [kind, done] of totals()) this.inc({ kind }, of(done))
      },
    })
  }
  counter('annals_retention_runs_total', 'Runs that this process has ended, by kind.', ({ runs }) => runs)
  counter('annals_retention_leaves_total', 'Leaves of those runs, by kind.', ({ leaves }) => leaves)
  counter(
    'annals_retention_archived_bytes_total',
    'Bytes in the archive that those runs wrote, or expired, by kind.',
    ({ archivedBytes }) => archivedBytes,
  )
  counter(
    'annals_retention_verified_bytes_total',
    'Bytes in the archive that those runs read back and found right before they deleted anything, by kind.',
    ({ verifiedBytes }) => verifiedBytes,
  )
}

/** Asks again when the answer is older than that; those who ask meanwhile share it. A failure is not kept. */
function atMostEach(ms: number, ask: () => Promise<ArchiveSurvey>): () => Promise<ArchiveSurvey> {
  let kept: { readonly at: number; readonly answer: Promise<ArchiveSurvey> } | undefined
  return () => {
    if (kept !== undefined && performance.now() - kept.at < ms) return kept.answer
    const answer = ask()
    const mine = { at: performance.now(), answer }
    kept = mine
    answer.catch(() => {
      if (kept === mine) kept = undefined
    })
    return answer
  }
}
