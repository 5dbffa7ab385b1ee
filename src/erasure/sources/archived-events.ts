/**
 * Sealed events in the content of archived segments: one ranged read for the leaves of a tile, each event held against its
 * leaf. Nothing is kept in memory behind it: what is read here is about to go.
 */
import type { SegmentDocument } from '../../archive/contract.js'
import { createMemberReader, MemberGoneError } from '../../archive/member-reader.js'
import type { SegmentLookup } from '../../archive/segment-lookup.js'
import { tileOf } from '../../archive/segment.js'
import type { ArchiveStore } from '../../archive/stores/contract.js'
import { eventIdOf, type StoredEvent } from '../../events/store.js'
import type { LogStore } from '../../transparency-log/store.js'
import { archiveFailure, archiveTarget } from '../archive-failure.js'
import type { EventSource } from './contract.js'

const maxRewrites = 5

export function archivedEventSource(deps: {
  readonly store: Pick<ArchiveStore, 'get'>
  readonly segments: Pick<SegmentLookup, 'over' | 'again'>
  readonly log: Pick<LogStore, 'leaves'>
}): EventSource {
  const members = createMemberReader(deps.store)

  /** The events under a tile. The content may be written anew meanwhile: then the segment names another object. */
  async function under(segment: SegmentDocument, tile: number): Promise<ReadonlyMap<number, StoredEvent>> {
    const { organizationId, generation, from, to } = segment
    const all = (await deps.log.leaves(organizationId, generation, tile)) ?? []
    const leaves = all.filter(({ index }) => index >= from && index < to)
    let now: SegmentDocument | undefined = segment
    for (let rewrite = 0; ; rewrite += 1) {
      const content: SegmentDocument['content'] = now?.content ?? null
      if (now === undefined || content === null || content.state === 'expired') return new Map()
      try {
        return (await members.content(now, content, leaves, tile)).value
      } catch (error) {
        if (!(error instanceof MemberGoneError) || rewrite === maxRewrites) throw error
        const again = await deps.segments.again(now)
        if (again?.content?.file.path === content.file.path) throw error
        now = again
      }
    }
  }

  return {
    name: archiveTarget,
    async at(organizationId, { generation, leaves }) {
      const [first, last] = [leaves[0], leaves.at(-1)]
      if (first === undefined || last === undefined) return { there: new Set(), events: [] }
      const wanted = new Set(leaves.map(({ index }) => index))
      try {
        const covering = await deps.segments.over(organizationId, generation, first.index, last.index + 1)
        const reads = covering.flatMap((segment) => {
          const ours = [...wanted].filter((index) => index >= segment.from && index < segment.to)
          return [...new Set(ours.map(tileOf))].map((tile) => under(segment, tile))
        })
        const found = (await Promise.all(reads)).flatMap((events) => [...events])
        const events = found.flatMap(([index, event]) => (wanted.has(index) ? [event] : []))
        return { there: new Set(events.map(({ _id }) => eventIdOf(_id))), events }
      } catch (error) {
        throw archiveFailure(error)
      }
    },
  }
}
