/** Events of years ago, and the expirer of a world with faults in what it works with. */
import { vi } from 'vitest'
import { createArchivedProofs } from '../../src/archive/expiry-proof.js'
import { restoredCollection } from '../../src/archive/restores/rows.js'
import { createArchiveKeys } from '../../src/archive/segment-keys.js'
import { createSegmentsStore } from '../../src/archive/segments-store.js'
import { createSegmentWriter } from '../../src/archive/segment-writer.js'
import type { ArchiveStore } from '../../src/archive/stores/contract.js'
import type { RetentionClock } from '../../src/retention/clock-store.js'
import { createContentExpiry } from '../../src/retention/content-expiry.js'
import { createExpirer, type Expirer, type RewriteState } from '../../src/retention/expirer.js'
import type { ExpireInput } from '../../src/retention/expiry-contract.js'
import { createExpiryPlanner, type ExpiryPlanner } from '../../src/retention/expiry-planning.js'
import { createRecordExpiry } from '../../src/retention/record-expiry.js'
import { logCollections } from '../../src/transparency-log/store.js'
import { archiveRange, archiverOf, dueRange, type Wrap } from './retaining.js'
import { accept, drainUntilSealed } from './sealing.js'
import type { World } from './world.js'

/** The default policy keeps content for seven years: these are eight. */
export const longAgo = new Date(Date.now() - 8 * 365 * 86_400_000)

/** Everything in this process believes that it is another day, timers excepted. */
export async function onDay<Value>(day: Date, work: () => Promise<Value>): Promise<Value> {
  vi.useFakeTimers({ toFake: ['Date'], now: day })
  try {
    return await work()
  } finally {
    vi.useRealTimers()
  }
}

export const clockAt = (now: Date, verdict: 'steady' | 'leapt' = 'steady'): Pick<RetentionClock, 'look'> => ({
  look: () => Promise.resolve({ now, verdict, clocksSay: now, believedAt: null }),
})

export interface ExpirerOptions {
  readonly store?: ArchiveStore
  readonly wrap?: Wrap
  readonly clock?: Pick<RetentionClock, 'look'>
}

/** Of content and of records. */
export function expirerOf({ api: { core }, config }: World, options: ExpirerOptions = {}): Expirer {
  const wrap: Wrap = options.wrap ?? ((target) => target)
  const store = wrap(options.store ?? core.archive)
  const keys = createArchiveKeys(core.signingKeys, config.logOrigin)
  const { retention } = core
  const shared = {
    store,
    writer: createSegmentWriter({ store, keys, spoolFolder: `${config.dataDirectory}/spool` }),
    segments: wrap(createSegmentsStore(core.db)),
  }
  return createExpirer(
    {
      client: core.client,
      segments: shared.segments,
      proofs: createArchivedProofs({ store, log: core.logReading.log, finder: core.finder }),
      lifecycle: wrap(retention.lifecycle),
      policies: wrap(retention.policies),
      holds: wrap(retention.holds),
      clock: wrap(options.clock ?? clockAt(new Date())),
      systemEvents: wrap(core.systemEvents),
    },
    {
      content: createContentExpiry({
        ...shared,
        log: core.sealing.store,
        restored: wrap(restoredCollection(core.db)),
      }),
      records: createRecordExpiry({ ...shared, entries: wrap(logCollections(core.db).entries) }),
    },
  )
}

export const expiryPlannerOf = ({ api: { core } }: World, now = new Date()): ExpiryPlanner =>
  createExpiryPlanner({ ...core.retention, db: core.db, clock: clockAt(now) })

export const dueToExpire = (world: World, organizationId: string, now = new Date()) =>
  expiryPlannerOf(world, now).dueOf(now, organizationId)

/** The steps in their order, as the workflow takes them. */
export async function expireSegment(
  world: World,
  expirer: Expirer,
  input: ExpireInput,
): Promise<RewriteState> {
  const state = await expirer.rewrite(input)
  if (state !== 'recorded') return state
  while (!(await expirer.prove(input))) await drainUntilSealed(world.api.core, input.organizationId)
  await expirer.remove(input)
  return state
}

/** Events that were accepted, sealed and archived long ago, in a segment of their own. @returns their ids */
export async function archivedLongAgo(
  world: World,
  organizationId: string,
  count: number,
  day = longAgo,
): Promise<string[]> {
  const ids = await onDay(day, async () => {
    const accepted = await accept(world.api.core, organizationId, count)
    await drainUntilSealed(world.api.core, organizationId)
    return accepted.map(({ id }) => id)
  })
  const range = await dueRange(world, organizationId, new Date())
  if (range === undefined) throw new Error('nothing is due to be archived')
  await archiveRange(archiverOf(world), range)
  return ids
}
