/**
 * Events, or records, that are gone from a log, until something sealed accounts for them. Pure.
 *
 * Leaves are read in order, and an expiry stands after what it took. `annals.retention.expired` accounts for what is gone
 * in its range if it stands behind it, the policies that stand before it allowed it, and no more is gone than it and
 * the others over the same range say. What nothing accounts for is missing.
 *
 * What is gone is kept as stretches of leaves that were received within half a day of each other, so that memory does not
 * grow with the log.
 */
import type { LeafName } from './contract.js'
import type { Findings } from './findings.js'
import {
  allowedUntil,
  archivedOf,
  expiryOf,
  neverExpires,
  policyOf,
  receivedAtOf,
  toleranceMs,
  type ArchivedStatement,
  type ExpiredKind,
  type ExpiryStatement,
  type PolicyStatement,
} from './expiry-rules.js'

interface Stretch {
  readonly from: number
  to: number
  readonly firstMs: number
  newestMs: number
}

/** What was said of one range. */
interface Account {
  readonly from: number
  readonly to: number
  gone: number
  untilMs: number
}

/** Beyond this, what is gone is missing at once. */
const maxStretches = 1_000_000
/** Events that are gone and can be named. */
const maxNamed = 100_000
const maxPolicies = 100_000
const maxArchived = 1_000_000

/** Beside its record: what a leaf before it says, for a leaf whose own record is gone. */
export interface Neighbour {
  /** The record of a leaf before it; undefined where there is none. */
  readonly before: string | undefined
}

export class Expiries {
  readonly #stretches: Stretch[] = []
  readonly #accounts = new Map<number, Account>()
  readonly #policies: PolicyStatement[] = []
  readonly #names = new Map<number, string>()
  /** By the first leaf of each range. */
  readonly #archived = new Map<number, ArchivedStatement>()
  #complete = true
  #expired = 0

  constructor(
    private readonly generation: number,
    private readonly findings: Findings,
    private readonly kind: ExpiredKind = 'content',
  ) {}

  /** Events, or records, that are gone, and accounted for. Counts after `settle`. */
  get expired(): number {
    return this.#expired
  }

  /** Leaves before were not read: policies that stand there are not known. */
  beginLater(): void {
    this.#complete = false
  }

  /** The event of a leaf, or its record, is gone. @param record which makes the leaf */
  note({ index, eventId }: LeafName, record: string | Neighbour): void {
    const own = typeof record === 'string' ? record : undefined
    if (own !== undefined && neverExpires(own)) {
      this.#missing(index, 'the event is gone, and is one that never expires', eventId)
      return
    }
    // It was sealed no earlier than what stands before it.
    const known = typeof record === 'string' ? record : record.before
    const receivedMs = known === undefined ? 0 : receivedAtOf(known)
    if (receivedMs === undefined || this.#stretches.length >= maxStretches) {
      this.#missing(index, goneOf[this.kind], eventId)
      return
    }
    const last = this.#stretches.at(-1)
    if (eventId !== undefined && this.#names.size < maxNamed) this.#names.set(index, eventId)
    const goesOn = last?.to === index && Math.abs(receivedMs - last.firstMs) <= toleranceMs / 2
    if (!goesOn) {
      this.#stretches.push({ from: index, to: index + 1, firstMs: receivedMs, newestMs: receivedMs })
      return
    }
    last.to = index + 1
    last.newestMs = Math.max(last.newestMs, receivedMs)
  }

  /** An event that makes its leaf: does it account for something before it? */
  meet(index: number, event: unknown): void {
    const policy = policyOf(event)
    if (policy !== undefined && this.#policies.length < maxPolicies) this.#policies.push(policy)
    const said = expiryOf(event)
    if (said?.generation === this.generation && said.kind === this.kind && said.to <= index)
      this.#account(said)
    const archived = this.kind === 'records' ? archivedOf(event) : undefined
    const isOfLog = archived?.generation === this.generation && archived.to <= index
    // The first word counts: there is one for each range.
    if (isOfLog && this.#archived.size < maxArchived && !this.#archived.has(archived.from))
      this.#archived.set(archived.from, archived)
  }

  #account(said: ExpiryStatement): void {
    const untilMs = allowedUntil(said, this.#policies, this.#complete)
    if (untilMs === undefined || !this.#isOldEnough(said, untilMs)) return
    const known = this.#accounts.get(said.from)
    if (known === undefined) {
      this.#accounts.set(said.from, { from: said.from, to: said.to, gone: said.gone, untilMs })
    } else if (known.to === said.to) {
      known.gone += said.gone
      known.untilMs = Math.max(known.untilMs, untilMs)
    }
  }

  /** By what was said of the range when it was archived, and is said now. */
  #isOldEnough({ from, to, sealedToMs, recordsManifest }: ExpiryStatement, untilMs: number): boolean {
    if (sealedToMs === undefined) return true
    const archived = this.#archived.get(from)
    const isSame =
      archived === undefined || (archived.to === to && archived.recordsManifest === recordsManifest)
    return isSame && Math.max(sealedToMs, archived?.sealedToMs ?? 0) <= untilMs
  }

  /** Is anything gone? */
  get waits(): boolean {
    return this.#stretches.length > 0
  }

  /** Nothing more comes: what is left is missing. */
  settle(): void {
    const accounts = [...this.#accounts.values()].sort((a, b) => a.from - b.from)
    let next = 0
    let account = accounts[next]
    let taken: { first: number; count: number } | undefined
    const close = () => {
      if (account !== undefined && taken !== undefined) this.#settleOne(account, taken)
      taken = undefined
      next += 1
      account = accounts[next]
    }
    for (const { from, to, newestMs } of this.#stretches) {
      for (let index = from; index < to; index += 1) {
        while (account !== undefined && account.to <= index) close()
        const isIn = account !== undefined && account.from <= index
        if (!isIn) this.#missing(index, goneOf[this.kind])
        else if (account !== undefined && newestMs > account.untilMs)
          this.#missing(index, tooYoungOf[this.kind])
        else taken = { first: taken?.first ?? index, count: (taken?.count ?? 0) + 1 }
      }
    }
    while (account !== undefined) close()
  }

  #settleOne(account: Account, taken: { readonly first: number; readonly count: number }): void {
    this.#expired += Math.min(taken.count, account.gone)
    if (taken.count <= account.gone) return
    const more = String(taken.count - account.gone)
    const what = this.kind === 'content' ? 'events' : 'records'
    this.#missing(taken.first, `${more} more ${what} are gone from here on than its expiry says`)
  }

  #missing(index: number, detail: string, eventId = this.#names.get(index)): void {
    const leaf = { generation: this.generation, index, ...(eventId === undefined ? {} : { eventId }) }
    const at = `leaf ${String(this.generation)}.${String(index)}`
    this.findings.add({
      code: this.kind === 'content' ? 'event_missing' : 'record_missing',
      at,
      detail,
      leaf,
    })
  }
}

const goneOf = {
  content: 'the event is not there any more',
  records: 'the record is not there',
} as const
const tooYoungOf = {
  content: 'the event is gone, and no policy let it go by then',
  records: 'the record is gone, and no policy let it go by then',
} as const
