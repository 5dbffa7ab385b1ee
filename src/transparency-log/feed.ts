/**
 * The feed: the events of an organization in leaf order, the only order in which nothing can appear behind a reader.
 * A place in it is a leaf's address, so it stays right for ever, and across generations.
 */
import { AnnalsError } from '../errors.js'
import type { EventFinder } from '../events/finding.js'
import type { IntakeOrganization } from '../events/intake.js'
import type { Reader } from '../events/personal-reads.js'
import type { Presenter } from '../events/presenting.js'
import type { StoredEvent } from '../events/store.js'
import type { VerifiablePresenter } from '../events/verifiable-reading.js'
import type { HeadWatcher, LeafAddress, WaitOptions } from './head-watcher.js'
import type { LogLeaf, LogStore } from './store.js'
import { tileWidth } from './tile.js'

/** `view`: as everywhere else. `verifiable`: with what it takes to hash it to its leaf (events/verifiable.ts). */
export type FeedView = 'plain' | 'verifiable'

export interface FeedRequest {
  /** The last leaf that was read; undefined = from the start of generation `first`. */
  readonly after: LeafAddress | undefined
  readonly first: number
  readonly limit: number
  readonly view: FeedView
}

export interface FeedPage {
  readonly data: readonly object[]
  /** The last leaf of the page; `after`, where the page is empty. */
  readonly next: LeafAddress | undefined
}

export interface Feed {
  /**
   * A page. Where there is nothing yet, it waits for something.
   * @throws AnnalsError `cursor_invalid` where the log does not reach as far as `after`; `overloaded` |
   *   `unavailable` | `archive_damaged`
   */
  read(
    organization: IntakeOrganization,
    request: FeedRequest,
    reader: Reader,
    wait: WaitOptions,
  ): Promise<FeedPage>
}

export interface FeedDependencies {
  readonly store: LogStore
  readonly watcher: HeadWatcher
  readonly finder: EventFinder
  readonly presenter: Presenter
  readonly verifiable: VerifiablePresenter
}

interface FeedLeaf extends LogLeaf {
  /** '' where it is gone. */
  readonly record: string
}

export function createFeed(dependencies: FeedDependencies): Feed {
  const { store, watcher, finder, presenter, verifiable } = dependencies

  /** The leaves from `next` on, of one generation; none where nothing is there yet. */
  async function leavesFrom(organizationId: string, next: LeafAddress, limit: number): Promise<FeedLeaf[]> {
    const newest = await store.head(organizationId)
    const current = newest?.generation ?? 1
    let { generation, index } = next
    for (;;) {
      const head = generation === current ? newest : await store.head(organizationId, generation)
      const size = head?.size ?? 0
      if (index > size || generation > current) throw beyondTheLog()
      if (index < size) {
        return leavesBetween(organizationId, generation, index, Math.min(size, index + limit))
      }
      if (generation === current) return []
      generation += 1
      index = 0
    }
  }

  async function leavesBetween(
    organizationId: string,
    generation: number,
    from: number,
    to: number,
  ): Promise<FeedLeaf[]> {
    const found: FeedLeaf[] = []
    for (let tile = Math.floor(from / tileWidth); tile * tileWidth < to; tile += 1) {
      const [leaves = [], records = []] = await Promise.all([
        store.leaves(organizationId, generation, tile),
        store.records(organizationId, generation, tile),
      ])
      for (const leaf of leaves) {
        if (leaf.index >= from && leaf.index < to)
          found.push({ ...leaf, record: records[leaf.index % tileWidth] ?? '' })
      }
    }
    // Nobody is led past a leaf that the store has lost.
    if (found.length !== to - from) throw new Error('the tiles of level 0 are not as wide as the head says')
    return found
  }

  async function storedEvents(organizationId: string, leaves: readonly FeedLeaf[]): Promise<StoredEvent[]> {
    const found = await finder.find(
      organizationId,
      leaves.map(({ eventId }) => eventId),
    )
    return [...found.values()]
  }

  return {
    async read(organization, { after, first, limit, view }, reader, wait) {
      const { organizationId } = organization.keyset
      const next =
        after === undefined
          ? { generation: first, index: 0 }
          : { generation: after.generation, index: after.index + 1 }
      let leaves = await leavesFrom(organizationId, next, limit)
      if (leaves.length === 0 && wait.waitMs > 0) {
        await watcher.waitFor(organizationId, next, wait)
        leaves = await leavesFrom(organizationId, next, limit)
      }
      const last = leaves.at(-1)
      if (last === undefined) return { data: [], next: after }
      const stored = await storedEvents(organizationId, leaves)
      const note = { by: 'feed' }
      const page = { generation: last.generation, index: last.index }
      if (view === 'verifiable') {
        const forms = await verifiable.present(organization, stored, reader, note)
        const data = leaves.map((leaf) => ({
          id: leaf.eventId,
          log: placeOf(leaf),
          event: forms.get(leaf.eventId) ?? null,
        }))
        return { data, next: page }
      }
      const views = await presenter.present(organization, stored, reader, note, false)
      const byId = new Map(views.map((shown) => [shown.id, shown]))
      const data = leaves.map((leaf) => ({
        ...(byId.get(leaf.eventId) ?? remainsOf(organizationId, leaf)),
        log: placeOf(leaf),
      }))
      return { data, next: page }
    },
  }
}

const placeOf = ({ generation, index, sealedAt }: LogLeaf) => ({
  generation,
  index,
  sealedAt: sealedAt.toISOString(),
})

interface Record {
  readonly actorType: string
  readonly targetTypes: readonly string[]
}

/** What is known of an event whose content is nowhere any more: its record, where that is there. */
function remainsOf(organizationId: string, { eventId, leafHash, record }: FeedLeaf): object {
  const leaf = Buffer.from(leafHash).toString('base64')
  if (record === '') return { id: eventId, organizationId, leafHash: leaf, content: 'absent' }
  const { actorType, targetTypes, ...envelope } = JSON.parse(record) as Record
  const { v, fields, ...shown } = { v: 1, fields: '', ...envelope }
  return {
    ...shown,
    actor: { type: actorType },
    targets: targetTypes.map((type) => ({ type })),
    context: {},
    metadata: {},
    leafHash: leaf,
    content: 'absent',
  }
}

const beyondTheLog = () =>
  new AnnalsError('cursor_invalid', 'The log does not reach as far as this place: it was never in this log.')
