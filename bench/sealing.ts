/**
 * Sealing beside the intake that feeds it: sample events are taken in, then all of them are sealed by the loops of all
 * partitions, as one worker runs them. Also: 1,000 organizations with one event each.
 */
import { openCore, type Core } from '../src/composition.js'
import type { Config } from '../src/config.js'
import { eventSchema, parseEvent } from '../src/events/schema.js'
import { createLogger } from '../src/logging.js'
import { sealPartitions } from '../src/transparency-log/contract.js'
import { runSealingLoop } from '../src/transparency-log/sealing-loop.js'
import { sampleEvents } from './data.js'

/** Under way at once, as in a batch. */
const submitsAtOnce = 1_000

export async function benchSealing(
  config: Config,
  say: (line: string) => void,
  events = 30_000,
): Promise<void> {
  say(`\nSealing, ${String(events)} sample events, then 1,000 organizations with one event each:`)
  const logger = createLogger('silent')
  const core = await openCore(config, logger)
  try {
    await sealAll(core)
    const samples = sampleEvents()
    const takenIn = await timed(() => takeIn(core, samples, events))
    const sealedIn = await timed(() => sealAll(core))
    const perSecond = (seconds: number) => `${(events / seconds).toFixed(0).padStart(9)}/s`
    say(`${'intake of the same events'.padEnd(34)}${perSecond(takenIn)}`)
    say(`${'sealing'.padEnd(34)}${perSecond(sealedIn)}   (at least 6,000, and never below intake)`)
    say(`  ratio to intake ${(takenIn / sealedIn).toFixed(2)}   (at least 1.00)`)
    const many = Array.from({ length: 1_000 }, (_, index) => ({
      ...samples[index % samples.length],
      organizationId: `org_many_${String(index)}`,
    }))
    await takeIn(core, many, many.length)
    say(
      `  1,000 organizations, one event each: ${(await timed(() => sealAll(core))).toFixed(1)} s   (at most 10)`,
    )
  } finally {
    await core.close()
  }
}

/** Takes in so many events, over and over the samples where they are fewer. */
export async function takeIn(
  core: Core,
  samples: readonly Record<string, unknown>[],
  count: number,
): Promise<void> {
  let next = 0
  const submitNext = async (): Promise<void> => {
    while (next < count) {
      const result = parseEvent(samples[next++ % samples.length], eventSchema, Date.now())
      if (!result.ok) throw new Error('a sample was refused')
      const { event } = result.parsed
      const organization =
        core.eventOrganizations.known(event.organizationId) ??
        (await core.eventOrganizations.ensure(event.organizationId, 'system'))
      await core.intake.submit({ event }, organization)
    }
  }
  await Promise.all(Array.from({ length: submitsAtOnce }, submitNext))
}

/** Runs every partition's loop until nothing is pending. */
export async function sealAll(core: Core): Promise<void> {
  const stop = new AbortController()
  const loops = Array.from({ length: sealPartitions }, (_, partition) =>
    runSealingLoop(
      { ...core.sealing, logger: createLogger('silent') },
      { partition, partitions: sealPartitions, signal: stop.signal },
    ),
  )
  while ((await core.sealing.pending.count()) > 0) await new Promise((resolve) => setTimeout(resolve, 20))
  stop.abort()
  await Promise.all(loops)
}

async function timed(work: () => Promise<void>): Promise<number> {
  const startedAt = performance.now()
  await work()
  return (performance.now() - startedAt) / 1_000
}
