/** Scoping: counts what there is of the person in every target and in free text, and changes nothing. */
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
import { pinnedTargets, retirementsOf } from './retiring.js'
import { TargetError, type ErasureWork } from './targets/contract.js'
import { countHit } from './text-removal.js'
import { isExempt, searchText } from './text-search.js'
import {
  ambiguousIn,
  certainIn,
  needsConfirmation,
  resolveAll,
  searchedIdentifiers,
  type HitCount,
} from './whom.js'

export type ScopingDependencies = Pick<
  ErasingDependencies,
  'fence' | 'directory' | 'subjects' | 'holds' | 'log' | 'sources' | 'targets' | 'keysetOf' | 'logsElsewhere'
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
  const counting = { keyset, subjects, matcher, searched, until: undefined, beat }
  const work: ErasureWork = { organizationId, requestId, ...counting }

  const targets: TargetScope[] = []
  const retirements = retirementsOf(opened.attestations)
  // What an earlier scoping pinned, and is not there any more: still to be looked at, or to be retired.
  const names = new Set(deps.targets.map(({ name }) => name))
  const removed = pinnedTargets(opened.scope).filter((name) => !names.has(name))
  const unreachable = removed.filter((name) => !retirements.has(name))
  for (const name of removed)
    targets.push(notCounted(name, retirements.has(name) ? 'retired' : 'unreachable'))
  for (const target of deps.targets) {
    beat()
    try {
      const items = await target.scope(work)
      targets.push({ target: target.name, status: 'counted', items, held: 0 })
    } catch (error) {
      if (!(error instanceof TargetError)) throw error
      const retired = retirements.has(target.name)
      if (!retired) unreachable.push(target.name)
      targets.push(notCounted(target.name, retired ? 'retired' : 'unreachable'))
    }
  }

  const away = targets.flatMap(({ target, status }) => (status === 'counted' ? [] : [target]))
  targets.push(...deps.logsElsewhere.map((name) => notCounted(name, 'elsewhere')))

  const readable = deps.sources.filter(({ name }) => !away.includes(name))
  const { counts, held, earliest, latest } = await countEvents({ ...deps, sources: readable }, work, holds)
  const ambiguous = ambiguousIn(resolved)
  const freeText = searched.map((identifier, position): FreeTextScope => {
    const count = counts[position] ?? { hits: 0, joint: 0, elsewhere: 0 }
    const { hits, joint } = count
    const doubtful = needsConfirmation(identifier, count, ambiguous.includes(position))
    return { identifier: position, kind: identifier.kind, hits, joint, needsConfirmation: doubtful }
  })
  await deps.requests.saveScope(request, {
    scopedAt: new Date(),
    subjects,
    ambiguousIdentifiers: ambiguous,
    certainSubjects: certainIn(resolved).length,
    targets: targets.map((target) => ({ ...target, held: held.get(target.target) ?? 0 })),
    freeText,
    earliest,
    latest,
  })
  const any =
    subjects.length > 0 || targets.some(({ items }) => items > 0) || freeText.some(({ hits }) => hits > 0)
  const [first] = unreachable
  // Nothing was found where it was looked: that is no match only where it was looked everywhere.
  if (!any && first !== undefined)
    throw new TargetError(first, removed.includes(first) ? 'target_removed' : 'target_unavailable')
  return { result: any ? 'matched' : 'no_match' }
}

const notCounted = (target: string, status: TargetScope['status']): TargetScope => ({
  target,
  status,
  items: 0,
  held: 0,
})

interface EventCounts {
  /** Hits in text by the position of their identifier. */
  readonly counts: readonly (HitCount | undefined)[]
  /** Events about the subjects that a hold covers, by the target that they lie in. */
  readonly held: ReadonlyMap<string, number>
  readonly earliest: Date | null
  readonly latest: Date | null
}

/** One pass over every event there is. */
async function countEvents(
  deps: Pick<ScopingDependencies, 'sources' | 'log' | 'subjects'>,
  { keyset, subjects, matcher, beat }: ErasureWork,
  holds: readonly Hold[],
): Promise<EventCounts> {
  const counts: HitCount[] = []
  const held = new Map<string, number>()
  let earliest: Date | null = null
  let latest: Date | null = null
  const search = { keyset, subjects, matcher, exempt: [], holds: [], beat }
  for await (const { source, hits, own } of searchText(deps, search)) {
    for (const hit of hits) countHit(counts, hit)
    for (const event of own) {
      const { occurredAt } = event
      if (earliest === null || occurredAt < earliest) earliest = occurredAt
      if (latest === null || occurredAt > latest) latest = occurredAt
      if (isExempt(event, [], holds)) held.set(source, (held.get(source) ?? 0) + 1)
    }
  }
  return { counts, held, earliest, latest }
}
