/** The figures of the anchor log and the rollback guard for Prometheus. */
import { Gauge, type Registry } from 'prom-client'
import type { RollbackGuard } from '../checkpoint-copies/guard.js'
import type { AnchorStore } from './anchor-store.js'

/** Each scrape reads one document; where the database is away the figures are absent. */
export function registerAnchorMetrics(
  registry: Registry,
  { guard, store }: { readonly guard: Pick<RollbackGuard, 'refused'>; readonly store: AnchorStore },
): void {
  new Gauge({
    name: 'annals_log_refused_organizations',
    help: 'Logs that this process found behind what was published, and does not seal (counted up to 1,000).',
    registers: [registry],
    collect() {
      this.set(guard.refused().size)
    },
  })
  const anchored = (
    figure: (head: { readonly at: Date; readonly cosignatures: readonly unknown[] }) => number,
  ) =>
    async function (this: Gauge) {
      const head = await store.head().catch(() => undefined)
      if (head === undefined) this.remove()
      else this.set(figure(head))
    }
  new Gauge({
    name: 'annals_anchor_time_seconds',
    help: 'When the newest entry of the anchor log was made, in seconds since 1970.',
    registers: [registry],
    collect: anchored(({ at }) => at.getTime() / 1_000),
  })
  new Gauge({
    name: 'annals_anchor_cosignatures',
    help: 'Witnesses that have cosigned the newest checkpoint of the anchor log.',
    registers: [registry],
    collect: anchored(({ cosignatures }) => cosignatures.length),
  })
}
