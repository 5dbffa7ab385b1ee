/** Wires sealing together: what `composition.ts` asks for, with everything that only sealing needs made here. */
import type { ClientSession, Db, MongoClient } from 'mongodb'
import type { SystemEventWriter } from '../events/contract.js'
import type { EventOrganizations } from '../events/organizations.js'
import type { EventCollection } from '../events/store.js'
import type { SigningKeys } from '../keys/signing-keys.js'
import type { Logger } from '../logging.js'
import type { SubjectStore } from '../subjects/store.js'
import { createAlarms, type Alarms } from './alarms.js'
import { anchorCollections, createAnchorStore } from './anchor/anchor-store.js'
import { createAnchoring, createLogTrees, organizationOf, type Anchoring } from './anchor/anchoring.js'
import type { Witness } from './anchor/witness-client.js'
import type { CheckpointCopies, CopyName } from './checkpoint-copies/copies.js'
import { createRollbackGuard, type RollbackGuard } from './checkpoint-copies/guard.js'
import { createLogRestarter, type LogRestarter } from './checkpoint-copies/restart.js'
import { createLogKeys, type LogKeys } from './log-keys.js'
import { createPendingEvents, type PendingEvents } from './pending.js'
import type { Damage } from './seal-batch.js'
import { createSealer, type Sealer } from './sealer.js'
import { createLogStore, logCollections, type LogStore } from './store.js'

export interface Sealing {
  readonly store: LogStore
  readonly keys: LogKeys
  readonly sealer: Sealer
  readonly pending: PendingEvents
  readonly alarms: Alarms
  /** Refuses logs that are behind what was published. */
  readonly guard: RollbackGuard
  readonly restarter: LogRestarter
  /** The anchor log, its witnesses, and the copies of checkpoints. */
  readonly anchoring: Anchoring
}

export interface SealingDependencies {
  readonly client: MongoClient
  readonly db: Db
  readonly events: EventCollection
  readonly subjects: SubjectStore['subjects']
  readonly organizations: Pick<EventOrganizations, 'require'>
  readonly systemEvents: Pick<SystemEventWriter, 'writeInTransaction'>
  readonly signingKeys: SigningKeys
  /** `ANNALS_LOG_ORIGIN` */
  readonly logOrigin: string
  readonly copies: CheckpointCopies
  readonly witnesses: readonly Witness[]
  readonly logger: Logger
  readonly now?: () => Date
}

export function createSealing(dependencies: SealingDependencies): Sealing {
  const { client, db, events, subjects, organizations, systemEvents } = dependencies
  const now = dependencies.now ?? (() => new Date())
  const collections = logCollections(db)
  const store = createLogStore(collections)
  const keys = createLogKeys(dependencies.signingKeys, dependencies.logOrigin)
  const alarms = createAlarms(dependencies.logger)
  const anchorStore = createAnchorStore(anchorCollections(db))
  const trees = createLogTrees(store, anchorStore)
  const { copies } = dependencies
  const onRefused = (name: CopyName): void =>
    alarms.raise('rolled_back', name === 'anchor' ? {} : { organizationId: organizationOf(name) })
  const guard = createRollbackGuard({ ...trees, copies, onRefused })
  const keysetOf = async (organizationId: string) => (await organizations.require(organizationId)).keyset
  const writing = {
    ...collections,
    client,
    store,
    events,
    now,
    originOf: (organizationId: string, generation: number) => keys.origin(organizationId, generation),
    signersOf: (origin: string) => keys.signers(origin),
    recordDamage: async (damage: Damage, session: ClientSession) => {
      await systemEvents.writeInTransaction(damageEvent(damage, now()), session)
    },
  }
  return {
    store,
    keys,
    sealer: createSealer({ ...writing, subjects, alarms, guard, keysetOf }),
    pending: createPendingEvents(events),
    alarms,
    guard,
    restarter: createLogRestarter({ ...writing, ...trees, copies, systemEvents, requireKeyset: keysetOf }),
    anchoring: createAnchoring({
      client,
      collections: anchorCollections(db),
      store: anchorStore,
      logHeads: collections.heads,
      logStore: store,
      trees,
      copies,
      guard,
      signingKeys: dependencies.signingKeys,
      logOrigin: dependencies.logOrigin,
      witnesses: dependencies.witnesses,
      alarms,
      logger: dependencies.logger,
      onRefused,
      now,
    }),
  }
}

/** Follows the leaf of an event whose stored form is no longer what was accepted. */
function damageEvent({ organizationId, eventId, generation, index }: Damage, occurredAt: Date) {
  return {
    organizationId,
    action: 'annals.log.event_damaged',
    occurredAt,
    actor: { type: 'system', id: 'annals' },
    targets: [{ type: 'event', id: eventId }],
    outcome: 'failure',
    metadata: { generation, leafIndex: index },
    onceKey: `event_damaged\0${eventId}`,
  } as const
}
