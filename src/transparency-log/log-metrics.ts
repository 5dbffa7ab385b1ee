/** The figures of sealing for Prometheus. */
import { Counter, Gauge, type Registry } from 'prom-client'
import type { Alarms } from './alarms.js'
import type { PendingEvents } from './pending.js'

/**
 * Registers what any process can say: how many accepted events wait to be sealed, and for how long. Each scrape
 * asks the database; where it is away the figures are absent, which an alert can tell from 0.
 */
export function registerPendingMetrics(registry: Registry, pending: PendingEvents): void {
  const asked = (ask: () => Promise<number>) =>
    async function (this: Gauge) {
      try {
        this.set(await ask())
      } catch {
        this.reset()
        this.remove()
      }
    }
  new Gauge({
    name: 'annals_pending_events',
    help: 'Accepted events that are not sealed yet (counted up to a million).',
    registers: [registry],
    collect: asked(() => pending.count()),
  })
  new Gauge({
    name: 'annals_seal_lag_seconds',
    help: 'How long the oldest event that is not sealed yet has waited.',
    registers: [registry],
    collect: asked(() => pending.lagSeconds()),
  })
}

/** Registers the alarms that a process has raised: one that seals, or one that answers proofs. */
export function registerAlarmMetrics(registry: Registry, alarms: Pick<Alarms, 'counts'>): void {
  new Counter({
    name: 'annals_seal_alarms_total',
    help: 'Signs of writing beside Annals, by kind: look at docs/sealing.md.',
    labelNames: ['kind'],
    registers: [registry],
    collect() {
      this.reset()
      for (const [kind, count] of alarms.counts()) this.inc({ kind }, count)
    },
  })
}

/** Registers what a process that seals has seen. */
export function registerSealingMetrics(
  registry: Registry,
  sealing: { readonly alarms: Alarms; readonly sealed: () => number },
): void {
  new Counter({
    name: 'annals_sealed_events_total',
    help: 'Events sealed by this process.',
    registers: [registry],
    collect() {
      this.reset()
      this.inc(sealing.sealed())
    },
  })
  registerAlarmMetrics(registry, sealing.alarms)
}
