/** Restores of a world: the restorer as workers have it, and 700 archived events (and one of their log) to bring back. */
import { createErasedContent } from '../../src/archive/restores/erased-content.js'
import { createRestorer, type Restorer } from '../../src/archive/restores/restorer.js'
import { createRestoredRows, restoredCollection } from '../../src/archive/restores/rows.js'
import type { Core } from '../../src/composition.js'
import { newId } from '../../src/ids.js'
import { subjectStore } from '../../src/subjects/store.js'
import { archiveLeaves, archiveReaderOf } from './archiving.js'
import { accept, drainUntilSealed } from './sealing.js'
import type { World } from './world.js'

/** @param days how long a day of a restore is, read anew for each restore */
export function restorerOf({ api: { core } }: World, days: { readonly dayMs?: number } = {}): Restorer {
  return createRestorer({
    store: core.restores.store,
    rows: createRestoredRows(core.db),
    // Each has nothing in memory: what it gives out it has read.
    archived: {
      walk: (...walk) => archiveReaderOf(core).walk(...walk),
      find: (...wanted) => archiveReaderOf(core).find(...wanted),
    },
    erased: createErasedContent(subjectStore(core.db).subjects),
    lifecycle: core.retention.lifecycle,
    events: core.systemEvents,
    client: core.client,
    get dayMs() {
      return days.dayMs ?? 86_400_000
    },
  })
}

/** Ids of 700 events that lie in the archive, in segments of 300 leaves. */
export async function archivedIds(core: Core, organizationId: string): Promise<string[]> {
  const ids = (await accept(core, organizationId, 700)).map(({ id }) => id)
  await drainUntilSealed(core, organizationId)
  await archiveLeaves(core, organizationId, { segmentLeaves: 300 })
  return ids
}

/** A restore of all that an organization has in the archive, which no workflow looks after. */
export async function writtenRestore({ api: { core } }: World, organizationId: string) {
  const reference = { organizationId, restoreId: newId('restore') }
  await core.restores.store.insert({
    ...{ ...reference, _id: `${organizationId}/${reference.restoreId}`, days: 1, reason: 'a test' },
    ...{ from: new Date(0), to: new Date('2999-01-01'), principal: 'prn_01h455vb4pex5vsknk084sn02q' },
    ...{ state: 'copying', requestedAt: new Date(), restoredAt: null, expiresAt: null, endedAt: null },
    ...{ failure: null, position: null, counts: { leaves: 0, events: 0, bytes: 0 }, leavesToRead: 701 },
    ...{ lifecycleSeen: null, bodyFingerprint: null },
  })
  return reference
}

export const restoredRowsOf = ({ api: { core } }: World, organizationId: string, filter: object = {}) =>
  restoredCollection(core.db)
    .find({ organizationId, ...filter })
    .toArray()

/** What is found of a search of what is restored, by id. */
export async function foundRestored(world: World, base: string, query: string): Promise<string[]> {
  const answer = await world.request('GET', `${base}/events?source=restored&limit=500&${query}`)
  if (answer.status !== 200) throw new Error(`nothing was searched: ${answer.text}`)
  return (answer.body as { data: { id: string }[] }).data.map(({ id }) => id)
}
