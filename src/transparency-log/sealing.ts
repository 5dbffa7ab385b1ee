/** Wires sealing together: what `composition.ts` asks for, with everything that only sealing needs made here. */
import type { Db, MongoClient } from 'mongodb'
import type { SystemEventWriter } from '../events/contract.js'
import type { EventOrganizations } from '../events/organizations.js'
import type { EventCollection } from '../events/store.js'
import type { SigningKeys } from '../keys/signing-keys.js'
import type { Logger } from '../logging.js'
import type { SubjectStore } from '../subjects/store.js'
import { createAlarms, type Alarms } from './alarms.js'
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
  const sealer = createSealer({
    ...collections,
    client,
    store,
    events,
    subjects,
    alarms,
    now,
    originOf: (organizationId, generation) => keys.origin(organizationId, generation),
    signersOf: (origin) => keys.signers(origin),
    keysetOf: async (organizationId) => (await organizations.require(organizationId)).keyset,
    recordDamage: async (damage, session) => {
      await systemEvents.writeInTransaction(damageEvent(damage, now()), session)
    },
  })
  return { store, keys, sealer, pending: createPendingEvents(events), alarms }
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
