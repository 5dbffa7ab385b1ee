/** The archiver of a world with faults in what it works with, and the steps as the workflow takes them. */
import { join } from 'node:path'
import { createArchiveKeys } from '../../src/archive/segment-keys.js'
import { createSegmentsStore } from '../../src/archive/segments-store.js'
import { createSegmentWriter } from '../../src/archive/segment-writer.js'
import type { ArchiveStore } from '../../src/archive/stores/contract.js'
import { createArchiver, type Archiver } from '../../src/retention/archiver.js'
import type { ArchiveInput } from '../../src/retention/contract.js'
import { LifecycleMovedError } from '../../src/retention/lifecycle.js'
import { createPlanner } from '../../src/retention/planning.js'
import { createLogKeys } from '../../src/transparency-log/log-keys.js'
import { logCollections } from '../../src/transparency-log/store.js'
import type { World } from './world.js'

/** Wraps what an archiver works with. */
export type Wrap = <T extends object>(target: T) => T

export interface ArchiverOptions {
  readonly store?: ArchiveStore
  readonly maxHotBytes?: number
  readonly wrap?: Wrap
}

export function archiverOf({ api: { core }, config }: World, options: ArchiverOptions = {}): Archiver {
  const wrap: Wrap = options.wrap ?? ((target) => target)
  const store = wrap(options.store ?? core.archive)
  const keys = createArchiveKeys(core.signingKeys, config.logOrigin)
  return createArchiver({
    client: core.client,
    events: wrap(core.events),
    log: core.sealing.store,
    entries: wrap(logCollections(core.db).entries),
    logKeys: createLogKeys(core.signingKeys, config.logOrigin),
    store,
    keys,
    writer: createSegmentWriter({ store, keys, spoolFolder: join(config.dataDirectory, 'spool') }),
    segments: wrap(createSegmentsStore(core.db)),
    lifecycle: wrap(core.retention.lifecycle),
    policies: core.retention.policies,
    ledger: core.erasing.deps.ledger,
    systemEvents: wrap(core.systemEvents),
    ...(options.maxHotBytes === undefined ? {} : { maxHotBytes: options.maxHotBytes }),
  })
}

/** A day on which all that is sealed now is due, for policies that say so. */
export const inAYear = () => new Date(Date.now() + 366 * 86_400_000)

export async function dueRange(
  { api: { core } }: World,
  organizationId: string,
  now: Date = inAYear(),
  maxLeaves = 65_536,
): Promise<ArchiveInput | undefined> {
  const time = { now, verdict: 'steady', clocksSay: now, believedAt: null } as const
  const limits = { maxLeaves, crumbs: 256, patienceMs: 0 }
  return createPlanner({ db: core.db, clock: { look: () => Promise.resolve(time) }, limits }).dueOf(
    now,
    organizationId,
  )
}

/** The steps in their order; written again where something moved, as the workflow does it. */
export async function archiveRange(archiver: Archiver, range: ArchiveInput): Promise<void> {
  for (;;) {
    const state = await archiver.write(range)
    if (state === 'taken' || state === 'shortened') return
    if (state === 'recorded') break
    await archiver.verify(range)
    try {
      await archiver.record(range)
      break
    } catch (error) {
      if (!(error instanceof LifecycleMovedError)) throw error
    }
  }
  await archiver.remove(range)
}
