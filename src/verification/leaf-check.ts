/**
 * One leaf after the other: does its record make the leaf, and its event the record? What is found and how many fields are
 * in which state comes together here.
 */
import { equalHashes, type Hash, type Hasher } from '../transparency-log/hash.js'
import { entryBundlePath, tileWidth, type TileAddress } from '../transparency-log/tile.js'
import type { Excuse, Finding } from './contract.js'
import { Erasures, isErasure, type GoneField, type Sha256 } from './erasures.js'
import type { CheckEvent, FieldExcuse } from './event-check.js'
import { membersOf } from './event-values.js'
import { Expiries } from './expiries.js'
import { isRetention, isRetentionRecord } from './expiry-rules.js'
import { FieldCounts, type Findings } from './findings.js'
import type { EventLine, LogSource } from './log-source.js'
import { recordId } from './receipt-check.js'

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

export interface LeafRules {
  readonly generation: number
  readonly hasher: Hasher
  readonly checkEvent: CheckEvent
  readonly sha256: Sha256
  readonly excuse?: Excuse | undefined
}

export interface LeafParts {
  readonly index: number
  readonly leaf: Hash
  readonly bytes: Uint8Array | undefined
  /** The record makes the leaf. */
  readonly holds: boolean
  readonly line: EventLine | undefined
  /** Where values are not read: the event of a leaf of retention, which says why others are gone. */
  readonly evidence?: EventLine | undefined
}

export class LeafChecks {
  readonly fields = new FieldCounts()
  readonly #erasures: Erasures
  readonly #expiries: Expiries
  readonly #expiredRecords: Expiries
  /** Of a leaf before: what is known of when one without a record was sealed. */
  #lastRecord: string | undefined
  #records = 0
  #events = 0

  /** @param findings where everything that does not hold is added */
  constructor(
    private readonly rules: LeafRules,
    private readonly findings: Findings,
    { manifest }: Pick<LogSource, 'manifest'>,
  ) {
    this.#expiries = new Expiries(rules.generation, findings)
    this.#expiredRecords = new Expiries(rules.generation, findings, 'records')
    this.#erasures = new Erasures(
      this.fields,
      findings,
      rules.sha256,
      manifest === undefined ? undefined : (sha256) => manifest(sha256),
    )
  }

  /** Leaves before the first one that is read are not: what stands there is not known. */
  beginLater(): void {
    this.#expiries.beginLater()
    this.#expiredRecords.beginLater()
  }

  /** Records that have expired. Counts after `settle`. */
  get expiredRecords(): number {
    return this.#expiredRecords.expired
  }

  /** Events whose content has expired. Counts after `settle`. */
  get expired(): number {
    return this.#expiries.expired
  }

  /** Records that make their leaves. */
  get records(): number {
    return this.#records
  }

  /** Events whose values were checked. */
  get events(): number {
    return this.#events
  }

  /** Is anything gone that an event of a later generation may account for? */
  get waits(): boolean {
    return [this.#erasures, this.#expiries, this.#expiredRecords].some(({ waits }) => waits)
  }

  /** An event of a later generation, which was proved there. */
  async meetLater(event: unknown): Promise<void> {
    for (const expiries of [this.#expiries, this.#expiredRecords])
      expiries.meet(Number.POSITIVE_INFINITY, event)
    await this.#erasures.meet(event)
  }

  /** After the last leaf: what was gone before the erasure that accounts for it was met. */
  settle(): void {
    this.#erasures.settle()
    this.#expiries.settle()
    this.#expiredRecords.settle()
  }

  /** One leaf: its record, and its event where the source has values. */
  check({ index, leaf, bytes, holds, line, evidence }: LeafParts): Promise<void> | undefined {
    const { hasher, checkEvent, excuse } = this.rules
    const record = holds ? textOf(bytes) : undefined
    if (holds) this.#records += 1
    const before = this.#lastRecord
    if (record !== undefined) this.#lastRecord = record
    if (bytes !== undefined && !holds) {
      const where = this.name(index, textOf(bytes))
      const detail = 'the record is not the one that was signed'
      this.findings.add({ code: 'record_differs', at: leafText(where), detail, leaf: where })
    }
    const say = (finding: Pick<Finding, 'code' | 'detail' | 'slots'>) => {
      const name = this.name(index, record, line)
      this.findings.add({ ...finding, at: leafText(name), leaf: name })
    }
    if (line === undefined || line.event === null) {
      if (bytes === undefined) {
        const name = this.name(index, undefined, line)
        this.#expiredRecords.note(name, { before })
        // Content went before the record, and by a statement of its own.
        if (line !== undefined) this.#expiries.note(name, { before })
      } else if (line !== undefined && record !== undefined)
        this.#expiries.note(this.name(index, record, line), record)
      else if (line !== undefined) say({ code: 'event_missing', detail: 'the event is not there any more' })
      if (evidence !== undefined && record !== undefined) this.#meet(index, evidence.event, record)
      return undefined
    }
    this.#events += 1
    const gone: GoneField[] = []
    const excused = excuse && this.#excused(excuse, index, line)
    const check = checkEvent(line.event, record, (slot, subject) => {
      const state = excused?.(slot, subject)
      if (state === undefined) gone.push({ slot, subject })
      return state
    })
    let { problem } = check
    if (problem === undefined && line.id !== membersOf(line.event)['id'])
      problem = { code: 'event_misplaced', detail: 'another event is said to be there' }
    if (record === undefined && problem === undefined && !makesLeaf(check.record, leaf, hasher)) {
      problem = {
        code: 'record_differs',
        detail: 'the event does not make the leaf, and its record is not there',
      }
    }
    if (problem !== undefined) {
      say(problem)
      this.fields.add('missing', check.fields.length)
      return undefined
    }
    for (const { state } of check.fields) if (state !== 'missing') this.fields.add(state)
    if (gone.length > 0) this.#erasures.note(this.name(index, record, line), gone)
    if (isRetention(line.event)) {
      this.#expiries.meet(index, line.event)
      this.#expiredRecords.meet(index, line.event)
    }
    // Nearly no event is one: nothing waits for the others.
    return isErasure(line.event) ? this.#erasures.meet(line.event) : undefined
  }

  /** Of an event that is read for what it says alone: it has to make its leaf as every other. */
  #meet(index: number, event: unknown, record: string): void {
    if (!isRetentionRecord(record) || !isRetention(event)) return
    if (this.rules.checkEvent(event, record).problem === undefined) this.#expiredRecords.meet(index, event)
  }

  #excused(excuse: Excuse, index: number, line: EventLine): FieldExcuse {
    const name = this.name(index, undefined, line)
    return (slot, subject) => excuse(name, slot, subject)
  }

  strayLine(address: TileAddress, { id }: EventLine): void {
    const detail = 'there is an event more than there are leaves'
    const leaf = this.name(address.index * tileWidth + address.width - 1, undefined, { id, event: null })
    this.findings.add({ code: 'stray_line', at: entryBundlePath(address), detail, leaf })
  }

  name(index: number, record: string | undefined, line?: EventLine) {
    const { generation } = this.rules
    const eventId = (record === undefined ? undefined : recordId(record)) ?? line?.id
    return typeof eventId === 'string' ? { generation, index, eventId } : { generation, index }
  }
}

const leafText = ({ generation, index }: { generation: number; index: number }) =>
  `leaf ${String(generation)}.${String(index)}`

const makesLeaf = (record: string | undefined, leaf: Hash, hasher: Hasher) =>
  record !== undefined && equalHashes(hasher.leaf(new TextEncoder().encode(record)), leaf)

/** The text of a record; undefined for bytes that are none. */
export function textOf(bytes: Uint8Array | undefined): string | undefined {
  if (bytes === undefined) return undefined
  try {
    return decoder.decode(bytes)
  } catch {
    return undefined
  }
}
