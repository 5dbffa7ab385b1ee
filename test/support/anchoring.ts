/** Sealing and anchoring of a world as another process of it would have them, with a clock and witnesses of the test's. */
import { openStore } from '../../src/archive/stores/open.js'
import type { Core } from '../../src/composition.js'
import type { Config } from '../../src/config.js'
import { createLogger } from '../../src/logging.js'
import { subjectStore } from '../../src/subjects/store.js'
import type { Witness } from '../../src/transparency-log/anchor/witness-client.js'
import type { CheckpointCopies } from '../../src/transparency-log/checkpoint-copies/copies.js'
import { createStoredCopies } from '../../src/transparency-log/checkpoint-copies/stored-copies.js'
import { createSealing, type Sealing } from '../../src/transparency-log/sealing.js'
import type { World } from './world.js'

/** The checkpoint copies of a deployment. */
export const copiesOf = (config: Config): CheckpointCopies =>
  createStoredCopies(openStore(config.checkpointCopies))

export interface SealingOptions {
  readonly now?: () => Date
  readonly witnesses?: readonly Witness[]
  /** Another deployment's data over the same servers. */
  readonly core?: Core
}

export function sealingOf(world: World, options: SealingOptions = {}): Sealing {
  const core = options.core ?? world.api.core
  const config: Config = world.config
  return createSealing({
    client: core.client,
    db: core.db,
    events: core.events,
    subjects: subjectStore(core.db).subjects,
    organizations: core.eventOrganizations,
    systemEvents: core.systemEvents,
    signingKeys: core.signingKeys,
    logOrigin: config.logOrigin,
    copies: copiesOf(config),
    witnesses: options.witnesses ?? [],
    logger: createLogger('silent'),
    ...(options.now === undefined ? {} : { now: options.now }),
  })
}

/** A clock that goes when it is told to. */
export function handClock(start = new Date('2026-11-25T10:00:00Z')): {
  now: () => Date
  pass(ms: number): void
} {
  let at = start.getTime()
  return { now: () => new Date(at), pass: (ms) => void (at += ms) }
}
