/** Scoping: counts what there is of the person in every target and in free text, and changes nothing. */
import type { Db } from 'mongodb'
import { eventCollection, eventIndexes, type StoredEvent } from '../events/store.js'
import type { Hold } from '../retention/contract.js'
import type {
  ErasureReference,
  ErasureRequests,
  FreeTextScope,
  ScopeOutcome,
  TargetScope,
} from './contract.js'
import type { ErasingDependencies } from './erasing.js'
import { createTextMatcher } from './matching.js'
import { TargetError, type ErasureWork } from './targets/contract.js'
import { eventsOf } from './targets/events.js'
import { countHit } from './text-removal.js'
import { isExempt, searchText } from './text-search.js'
import { ambiguousIn, needsConfirmation, resolveAll, searchedIdentifiers, type HitCount } from './whom.js'

export type ScopingDependencies = Pick<
  ErasingDependencies,
  'db' | 'fence' | 'directory' | 'subjects' | 'holds' | 'log' | 'targets' | 'keysetOf'
> & { readonly requests: ErasureRequests }

/** @throws KeyError; SubjectStateError; TargetError where nothing was found and a target could not be asked */
export async function scope(
  deps: ScopingDependencies,
  request: ErasureReference,
  beat: () => void,
): Promise<ScopeOutcome> {
  const { organizationId, requestId } = request
  const opened = await deps.requests.open(request)
  const keyset = await deps.keysetOf(organizationId)
  const resolved = await resolveAll(deps.directory, keyset, opened.identifiers)
  const subjects = [...new Set(resolved.flat())].sort()
  const by = { keyset, requestId, references: subjects }
  const known = await deps.fence.identifiersOf(by, await deps.fence.openAll(by))
  const searched = await searchedIdentifiers(deps.directory, keyset, opened.identifiers, known, subjects)
  const matcher = createTextMatcher(searched)
  const holds = await deps.holds.active(organizationId)
  const work: ErasureWork = { organizationId, requestId, keyset, subjects, matcher, until: undefined, beat }

  const held = await countHeld(deps.db, organizationId, subjects, holds)
  const targets: TargetScope[] = []
  const unreachable: string[] = []
  for (const target of deps.targets) {
    beat()
    try {
      const items = await target.scope(work)
      targets.push({
        target: target.name,
        status: 'counted',
        items,
        held: target.name === 'hot_events' ? held : 0,
      })
    } catch (error) {
      if (!(error instanceof TargetError)) throw error
      unreachable.push(target.name)
      targets.push({ target: target.name, status: 'unreachable', items: 0, held: 0 })
    }
  }

  const counts = await countTexts(deps, { keyset, subjects, matcher, beat })
  const ambiguous = ambiguousIn(resolved)
  const freeText = searched.map((identifier, position): FreeTextScope => {
    const count = counts[position] ?? { hits: 0, joint: 0, elsewhere: 0 }
    const { hits, joint } = count
    const doubtful = needsConfirmation(identifier, count, ambiguous.includes(position))
    return { identifier: position, kind: identifier.kind, hits, joint, needsConfirmation: doubtful }
  })
  const bounds = subjects.length === 0 ? [null, null] : await boundsOf(deps.db, organizationId, subjects)
  const [earliest = null, latest = null] = bounds
  await deps.requests.saveScope(request, {
    scopedAt: new Date(),
    subjects,
    ambiguousIdentifiers: ambiguous,
    targets,
    freeText,
    earliest,
    latest,
  })
  const any =
    subjects.length > 0 || targets.some(({ items }) => items > 0) || freeText.some(({ hits }) => hits > 0)
  const [first] = unreachable
  // Nothing was found where it was looked: that is no match only where it was looked everywhere.
  if (!any && first !== undefined) throw new TargetError(first, 'target_unavailable')
  return { result: any ? 'matched' : 'no_match' }
}

async function countTexts(
  { db, log, subjects: reader }: ScopingDependencies,
  search: Pick<ErasureWork, 'keyset' | 'subjects' | 'matcher' | 'beat'>,
): Promise<readonly (HitCount | undefined)[]> {
  const counts: HitCount[] = []
  const sources = { events: eventCollection(db), log, subjects: reader }
  for await (const hits of searchText(sources, { ...search, exempt: [], holds: [] })) {
    for (const hit of hits) countHit(counts, hit)
  }
  return counts
}

async function countHeld(
  db: Db,
  organizationId: string,
  subjects: readonly string[],
  holds: readonly Hold[],
): Promise<number> {
  if (holds.length === 0 || subjects.length === 0) return 0
  let held = 0
  const projection = { action: 1, category: 1, occurredAt: 1, 'fields.subject': 1 }
  const found = eventCollection(db)
    .find(eventsOf({ organizationId, subjects }), { projection, hint: eventIndexes.terms })
    .project<StoredEvent>(projection)
  for await (const event of found) if (isExempt(event, [], holds)) held += 1
  return held
}

async function boundsOf(
  db: Db,
  organizationId: string,
  subjects: readonly string[],
): Promise<(Date | null)[]> {
  const ends = [1, -1] as const
  return Promise.all(
    ends.map(async (direction) => {
      const found = await eventCollection(db).findOne(eventsOf({ organizationId, subjects }), {
        projection: { occurredAt: 1 },
        sort: { occurredAt: direction },
      })
      return found?.occurredAt ?? null
    }),
  )
}
