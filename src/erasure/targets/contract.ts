/**
 * A target: a place that can hold personal data, and how a person goes from it. Every one is in the registry, and held to
 * one contract (test/contracts/erasure-target.ts):
 *
 *   - `erase` may run again after any failure, and changes nothing that is not the person's;
 *   - after it `verify` finds nothing, and another organization's is as it was;
 *   - one that cannot be reached fails by its name (`TargetError`), and no request completes without it.
 */
import type { OrganizationKeyset } from '../../keys/organization-keys.js'
import type { CollectionName } from '../../mongo/collections.js'
import type { ErasureReference } from '../contract.js'
import type { TextMatcher } from '../matching.js'
import type { Searched } from '../needles.js'
import type { ReadPlace } from '../second-reader.js'

/** One request, as targets see it. */
export interface ErasureWork extends ErasureReference {
  readonly keyset: OrganizationKeyset
  /** `sub_…` */
  readonly subjects: readonly string[]
  /** Finds the identifiers whose hits are to go (all of them, while only counting). */
  readonly matcher: TextMatcher
  /** The same identifiers, for a target that looks as the second reader does; absent where none is asked. */
  readonly searched?: readonly Searched[]
  /** What came after this moment is about a new subject; undefined while only counting. */
  readonly until: Date | undefined
  /** Single fields that are to go, for targets that hold events; absent while only counting. */
  readonly texts?: TextsToRemove | undefined
  /** Says that it goes on: to be called at least each few seconds. */
  readonly beat: () => void
  /** While verifying: told where something is left, by a target that can say so in fixed words and names of files. */
  readonly onLeft?: (place: string) => void
  /** While verifying: told what was gone through, by a target that nobody else looks at. */
  readonly onRead?: (place: ReadPlace) => void
}

/** Clear fields, and other persons' blocks, that name the person and are to go. */
export interface TextsToRemove {
  /** Of some events, by event id: the slots, with the commitment that stays in the place of each. */
  of(eventIds: readonly string[]): Promise<ReadonlyMap<string, ReadonlyMap<string, Buffer>>>
  /** The ids of all events concerned, in order, some hundred at a time; an id may come twice. */
  eventIds(): AsyncIterable<readonly string[]>
}

export interface ErasureTarget {
  /** A fixed word. */
  readonly name: string
  /** The collections of MongoDB that it answers for. */
  readonly collections: readonly CollectionName[]
  /** `false`: it holds nothing that Annals may remove, and is only looked at. */
  readonly erases?: false
  /** Asked before anybody is fenced: could it do its part? Absent = where the database is. @throws TargetError */
  reach?(organizationId: string): Promise<void>
  /** Things that hold something of the person. */
  scope(work: ErasureWork): Promise<number>
  /** @returns things changed by this run: nothing on a repeat. @throws TargetError */
  erase(work: ErasureWork): Promise<number>
  /** Things that still hold something of the person. */
  verify(work: ErasureWork): Promise<number>
}

/** A target cannot be reached, or cannot do its part here: it blocks completion, by name. */
export class TargetError extends Error {
  override readonly name = 'TargetError'
  /** How many things the run had changed when it failed; undefined = it cannot tell. */
  readonly removed: number | undefined

  constructor(
    readonly target: string,
    readonly reason: 'target_unavailable' | 'archive_unavailable' | 'target_removed',
    { removed, ...options }: { readonly cause?: unknown; readonly removed?: number } = {},
  ) {
    super(`the target ${target} cannot do its part`, options)
    this.removed = removed
  }
}
