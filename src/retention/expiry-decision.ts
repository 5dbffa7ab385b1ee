/** What becomes of an event, or a record, of a segment that is due: pure, one after the other, and what they add up to. */
import type { RecordedLeaf } from '../archive/leaves-rewrite.js'
import type { StoredEvent } from '../events/store.js'
import type { HeldEvent, Hold } from './contract.js'
import { covers, mayCover, neverExpires } from './policy.js'

export interface ExpiryCounts {
  /** Events that go. */
  readonly expired: number
  /** Events that stay because a hold covers them. */
  readonly held: number
  /** Events that stay because they never expire. */
  readonly kept: number
}

/** Decides over the events of one segment. */
export class ExpiryDecision {
  readonly #holds: readonly Hold[]
  readonly #covering = new Set<string>()
  #expired = 0
  #held = 0
  #kept = 0

  /** @param holds those in force @param segment its times, by which holds that cannot cover anything are passed over */
  constructor(holds: readonly Hold[], segment: { readonly occurredFrom: Date; readonly occurredTo: Date }) {
    this.#holds = holds.filter(({ scope }) => mayCover(scope, segment.occurredFrom, segment.occurredTo))
  }

  /** May any hold cover something here? */
  get mayHold(): boolean {
    return this.#holds.length > 0
  }

  /** Does the event stay? */
  stays(event: StoredEvent): boolean {
    if (event.category === 'system' && neverExpires(event.action)) {
      this.#kept += 1
      return true
    }
    const looked = lookedAt(event)
    // Each of them: the segment is looked at again when any is released.
    const holding = this.#holds.filter(({ scope }) => covers(scope, looked))
    for (const { id } of holding) this.#covering.add(id)
    if (holding.length > 0) this.#held += 1
    else this.#expired += 1
    return holding.length > 0
  }

  get counts(): ExpiryCounts {
    return { expired: this.#expired, held: this.#held, kept: this.#kept }
  }

  /** The holds that covered an event, sorted. */
  get holds(): readonly string[] {
    return [...this.#covering].sort()
  }
}

const lookedAt = ({ action, occurredAt, fields }: StoredEvent): HeldEvent => ({
  action,
  occurredAt,
  subjects: fields.flatMap((field) => ('subject' in field ? [field.subject] : [])),
})

/** What of a segment's content went, and when. */
export interface GoneContent {
  readonly occurredFrom: Date
  readonly occurredTo: Date
  /** When the first of it expired: every hold that was there before has been compared with all of it; undefined = not known. */
  readonly since: Date | undefined
}

/** By so much the clocks of who places holds and who lets expire may differ. */
const clocksMs = 86_400_000

/**
 * Decides over the records of one segment. A record stays as long as its content does. After that it names nobody: so a
 * hold on a person who was not looked for while the content was there holds every record that fits the rest of it.
 */
export class RecordDecision {
  readonly #holds: readonly Hold[]
  readonly #compared: ReadonlySet<string>
  readonly #covering = new Set<string>()
  #expired = 0
  #held = 0
  #kept = 0
  #contentIsDue = false

  constructor(holds: readonly Hold[], { since, occurredFrom, occurredTo }: GoneContent) {
    this.#holds = holds.filter(({ scope }) => mayCover(scope, occurredFrom, occurredTo))
    const wereThere = this.#holds.filter(
      ({ placedAt }) => since !== undefined && placedAt.getTime() + clocksMs < since.getTime(),
    )
    this.#compared = new Set(wereThere.map(({ id }) => id))
  }

  /** Does the record stay? */
  stays({ record, event }: RecordedLeaf): boolean {
    const { action, category, occurredAt } = JSON.parse(record) as RecordEnvelope
    if (category === 'system' && neverExpires(action)) {
      this.#kept += 1
      return true
    }
    const held = event === undefined ? undefined : lookedAt(event)
    const looked = held ?? { action, occurredAt: new Date(occurredAt), subjects: [] }
    const holding = this.#holds.filter(({ id, scope }) => {
      if (held !== undefined || scope.subjects === undefined) return covers(scope, looked)
      const { subjects: _, ...rest } = scope
      return !this.#compared.has(id) && covers(rest, looked)
    })
    for (const { id } of holding) this.#covering.add(id)
    if (holding.length > 0) this.#held += 1
    else if (event !== undefined) this.#contentIsDue = true
    else this.#expired += 1
    return holding.length > 0 || event !== undefined
  }

  /** Content is there that nothing holds any more: it goes first. */
  get contentIsDue(): boolean {
    return this.#contentIsDue
  }

  get counts(): ExpiryCounts {
    return { expired: this.#expired, held: this.#held, kept: this.#kept }
  }

  /** The holds that covered, or may cover, a record, sorted. */
  get holds(): readonly string[] {
    return [...this.#covering].sort()
  }
}

/** Of a record that makes its leaf: what intake wrote. */
interface RecordEnvelope {
  readonly action: string
  readonly category: string
  readonly occurredAt: string
}
