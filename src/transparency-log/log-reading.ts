/** Wires the reading of logs together: what `composition.ts` asks for. */
import type { Db } from 'mongodb'
import type { SystemEventWriter } from '../events/contract.js'
import { createPresenter } from '../events/presenting.js'
import type { EventFinder } from '../events/finding.js'
import type { EventCollection } from '../events/store.js'
import { createVerifiablePresenter, type VerifiablePresenter } from '../events/verifiable-reading.js'
import type { SubjectReader } from '../subjects/readers.js'
import { createFeed, type Feed } from './feed.js'
import { createHeadWatcher } from './head-watcher.js'
import { createLogReader, type LogReader } from './log-reader.js'
import { createReceipts, type Receipts } from './receipts.js'
import type { Sealing } from './sealing.js'
import { logCollections } from './store.js'
import { createWhereabouts, type Whereabouts } from './whereabouts.js'

export interface LogReading {
  readonly log: LogReader
  readonly receipts: Receipts
  readonly whereabouts: Whereabouts
  readonly feed: Feed
  readonly verifiable: VerifiablePresenter
}

export interface LogReadingDependencies {
  readonly db: Db
  readonly events: EventCollection
  readonly finder: EventFinder
  readonly sealing: Pick<Sealing, 'store' | 'keys' | 'alarms' | 'anchoring'>
  readonly subjects: SubjectReader
  readonly systemEvents: SystemEventWriter
}

export function createLogReading(dependencies: LogReadingDependencies): LogReading {
  const { db, events, finder, sealing, subjects, systemEvents } = dependencies
  const { store, keys, alarms, anchoring } = sealing
  const verifiable = createVerifiablePresenter(subjects, systemEvents)
  const feed = createFeed({
    store,
    watcher: createHeadWatcher(logCollections(db).heads),
    finder,
    presenter: createPresenter(subjects, systemEvents),
    verifiable,
  })
  const log = createLogReader(store, keys, (organizationId) =>
    alarms.raise('log_damaged', { organizationId }),
  )
  return {
    log,
    receipts: createReceipts({ log, anchoring, alarms }),
    whereabouts: createWhereabouts(events, store),
    feed,
    verifiable,
  }
}
