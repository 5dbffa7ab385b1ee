/** What the tests of the rollback guard share: logs that grow, backups of what they are made of, and what refuses to seal. */
import type { Document } from 'mongodb'
import { expect } from 'vitest'
import { collectionNames } from '../../src/mongo/collections.js'
import type { LogHeadDocument } from '../../src/transparency-log/store.js'
import type { Sealing } from '../../src/transparency-log/sealing.js'
import { copiesOf, sealingOf } from './anchoring.js'
import type { Acknowledged } from './log-oracle.js'
import { accept } from './sealing.js'
import type { World } from './world.js'

const ofLog = [
  collectionNames.events,
  collectionNames.logHeads,
  collectionNames.logTiles,
  collectionNames.logEntries,
]
/** The collections of the anchor log. */
export const ofAnchor = [
  collectionNames.anchorHeads,
  collectionNames.anchorTiles,
  collectionNames.anchorLogs,
  collectionNames.anchorWitnesses,
]

/** @param organization the organization that the test at hand is about */
export function rollingBack(world: () => World, organization: () => string) {
  const core = () => world().api.core
  return {
    copies: () => copiesOf(world().config),
    /** A process of its own: it remembers nothing. */
    process: (): Sealing => sealingOf(world()),
    head: async (): Promise<LogHeadDocument> => {
      const found = await core().sealing.store.head(organization())
      if (found === undefined) throw new Error('the log has no head')
      return found
    },
    /** Takes events in and seals them. */
    grow: async (
      count = 1,
      using: Pick<Sealing, 'sealer'> = core().sealing,
    ): Promise<readonly Acknowledged[]> => {
      const accepted = await accept(core(), organization(), count)
      await using.sealer.drainOrganization(organization())
      return accepted
    },
    /** A backup of what the logs are made of; the function restores it. */
    backup: async (names: readonly string[] = ofLog): Promise<() => Promise<void>> => {
      const scope = names === ofLog ? { organizationId: organization() } : {}
      const saved = new Map<string, Document[]>()
      // Bytes as they are: numbers of the stored form must not change on the way.
      for (const name of names) {
        saved.set(name, await core().db.collection(name).find(scope, { promoteValues: false }).toArray())
      }
      return async () => {
        for (const [name, documents] of saved) {
          await core().db.collection(name).deleteMany(scope)
          if (documents.length > 0) await core().db.collection(name).insertMany(documents)
        }
      }
    },
    refuses: (sealing: Sealing, comparison: string) =>
      expect(sealing.sealer.drainOrganization(organization())).rejects.toMatchObject({
        code: 'rolled_back',
        comparison,
      }),
  }
}
