/** The figures of erasure requests for Prometheus: totals of the deployment, never of one organization. */
import type { Db } from 'mongodb'
import { Gauge, type Registry } from 'prom-client'
import { FreshCache } from '../fresh-cache.js'
import { collectionNames } from '../mongo/collections.js'
import { erasureStates, type ErasureState } from './contract.js'
import { deadlineBinds } from './deadlines.js'
import type { ErasureRequestDocument } from './store.js'

const maxAgeMs = 60_000
const maxTimeMs = 10_000

export interface ErasureSurvey {
  readonly requests: ReadonlyMap<ErasureState, number>
  /** Of those that the deadline binds: past it, and the earliest that was received; null where there is none. */
  readonly overdue: number
  readonly oldestReceivedAt: Date | null
}

/** Counts the requests of every organization in one pass. */
export async function surveyErasures(db: Db, now = new Date()): Promise<ErasureSurvey> {
  const groups = await db
    .collection<ErasureRequestDocument>(collectionNames.erasureRequests)
    .aggregate<{ _id: ErasureState; requests: number; overdue: number; oldest: Date }>(
      [
        {
          $group: {
            _id: '$state',
            requests: { $sum: 1 },
            overdue: { $sum: { $cond: [{ $lt: ['$dueAt', now] }, 1, 0] } },
            oldest: { $min: '$receivedAt' },
          },
        },
      ],
      { maxTimeMS: maxTimeMs },
    )
    .toArray()
  const binding = groups.filter(({ _id }) => deadlineBinds(_id))
  const received = binding.map(({ oldest }) => oldest.getTime())
  return {
    requests: new Map(groups.map(({ _id, requests }) => [_id, requests])),
    overdue: binding.reduce((sum, { overdue }) => sum + overdue, 0),
    oldestReceivedAt: received.length === 0 ? null : new Date(Math.min(...received)),
  }
}

/** Registers what any process can say. The database is asked once a minute at most; where it is away figures are absent. */
export function registerErasureMetrics(registry: Registry, db: Db): void {
  const surveys = new FreshCache<ErasureSurvey>({ max: 1, maxAgeMs, load: () => surveyErasures(db) })
  const gauge = (
    name: string,
    help: string,
    tell: (gauge: Gauge, survey: ErasureSurvey) => void,
    labelNames: readonly string[] = [],
  ) => {
    new Gauge({
      name,
      help,
      labelNames,
      registers: [registry],
      async collect() {
        const survey = await surveys.get('all').catch(() => undefined)
        this.reset()
        if (survey === undefined) this.remove()
        else tell(this, survey)
      },
    })
  }
  gauge(
    'annals_erasure_requests',
    'Erasure requests, by state.',
    (figure, { requests }) => {
      for (const state of erasureStates) figure.set({ state }, requests.get(state) ?? 0)
    },
    ['state'],
  )
  gauge(
    'annals_erasure_overdue_requests',
    'Erasure requests past their deadline whose person is not erased, or recipients not told.',
    (figure, { overdue }) => figure.set(overdue),
  )
  gauge(
    'annals_erasure_oldest_open_seconds',
    'How long ago the oldest of the erasure requests that a deadline binds was received; 0 where there is none.',
    (figure, { oldestReceivedAt }) =>
      figure.set(
        oldestReceivedAt === null ? 0 : Math.max(0, Date.now() - oldestReceivedAt.getTime()) / 1_000,
      ),
  )
}
