/** The places of an organization beside its rows: archive, ledger, checkpoint copy, Temporal. Each may be cleared again. */
import type { Db } from 'mongodb'
import { ArchiveStoreError, type ArchiveStore } from '../archive/stores/contract.js'
import { copyNameOf, type CheckpointCopies } from '../transparency-log/checkpoint-copies/copies.js'
import { rowsLeft } from './collections.js'
import { offboardingWorkflowId, type OffboardingReference } from './contract.js'
import type { Executions } from './executions.js'

export interface PlacesDependencies {
  readonly db: Db
  readonly archive: Pick<ArchiveStore, 'versions' | 'delete'>
  readonly ledger: Pick<ArchiveStore, 'versions' | 'delete'>
  readonly copies: Pick<CheckpointCopies, 'read' | 'remove'>
  readonly executions: Executions
}

/** Something of the organization is left; `places` are names of collections and stores. */
export class OffboardingResidueError extends Error {
  override readonly name = 'OffboardingResidueError'

  constructor(readonly places: readonly string[]) {
    super('something of an offboarded organization is left')
  }
}

const prefixOf = ({ organizationId }: OffboardingReference) => `${organizationId}/`

export function createPlaces(deps: PlacesDependencies) {
  /** Deletes what lies under a prefix, every version. @returns how many objects are under lock */
  async function clear(
    place: Pick<ArchiveStore, 'versions' | 'delete'>,
    prefix: string,
    beat: () => void,
  ): Promise<number> {
    const paths = new Set<string>()
    for await (const { path } of place.versions(prefix)) paths.add(path)
    let locked = 0
    for (const path of paths) {
      beat()
      try {
        await place.delete(path)
      } catch (error) {
        if (!(error instanceof ArchiveStoreError) || error.code !== 'locked') throw error
        locked += 1
      }
    }
    return locked
  }

  async function countObjects(place: Pick<ArchiveStore, 'versions'>, prefix: string): Promise<number> {
    const paths = new Set<string>()
    for await (const { path } of place.versions(prefix)) paths.add(path)
    return paths.size
  }

  return {
    /** Segments, ledger and checkpoint copy. @returns how many objects are under lock */
    async clear(reference: OffboardingReference, beat: () => void): Promise<number> {
      const locked = await clear(deps.archive, prefixOf(reference), beat)
      await deps.copies.remove(copyNameOf(reference.organizationId))
      return locked + (await clear(deps.ledger, prefixOf(reference), beat))
    },

    /** @throws OffboardingResidueError */
    async requireNothing(reference: OffboardingReference, locked: number, beat: () => void): Promise<void> {
      const { organizationId } = reference
      const places = Object.keys(await rowsLeft(deps.db, organizationId, beat))
      const objects =
        (await countObjects(deps.archive, prefixOf(reference))) +
        (await countObjects(deps.ledger, prefixOf(reference)))
      if (objects > locked) places.push('archive')
      if ((await deps.copies.read(copyNameOf(organizationId))) !== undefined) places.push('checkpoint_copies')
      if ((await deps.executions.remove(organizationId, offboardingWorkflowId(reference))) > 0)
        places.push('temporal')
      if (places.length > 0) throw new OffboardingResidueError(places)
    },
  }
}
