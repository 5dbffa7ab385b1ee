/** The figures of period keys for Prometheus. */
import { Counter, Gauge, type Registry } from 'prom-client'
import type { PeriodState } from '../keys/period-state.js'

/** @param rewrapped keys that this process has wrapped anew */
export function registerRotationMetrics(
  registry: Registry,
  { state, rewrapped }: { state: () => Promise<PeriodState | undefined>; rewrapped: () => number },
): void {
  const gauge = (name: string, help: string, of: (periods: PeriodState) => number) => {
    new Gauge({
      name,
      help,
      registers: [registry],
      async collect() {
        try {
          const periods = await state()
          if (periods !== undefined) this.set(of(periods))
        } catch {
          // The database is away: no figure is better than an old one.
          this.remove()
        }
      },
    })
  }
  gauge(
    'annals_period_key_age_seconds',
    'Age of the current period key.',
    ({ since }) => Math.max(0, Date.now() - since.getTime()) / 1_000,
  )
  gauge(
    'annals_period_keys_retired',
    'Earlier period keys that are still kept: what was erased under them is in reach of backups.',
    ({ retired }) => retired.length,
  )
  new Counter({
    name: 'annals_keys_rewrapped_total',
    help: 'Keys that this process has wrapped anew under a newer period.',
    registers: [registry],
    collect() {
      this.reset()
      this.inc(rewrapped())
    },
  })
}
