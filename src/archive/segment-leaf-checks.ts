/** What has to hold of the lines of a segment, and what they add up to (segment-verify.ts leads them to the root). */
import { leafHashOf } from '../events/record.js'
import { tileWidth } from '../transparency-log/tile.js'
import type { ContentState } from './contract.js'
import { SegmentFault, type SegmentFaultCode } from './segment-fault.js'
import type { ContentManifest, LeavesManifest, Opened, RecordsManifest } from './segment-manifest.js'
import type { OpenMember } from './segment-reader.js'
import {
  isEmptyLine,
  leafHashOfLine,
  MalformedLineError,
  parseContentLines,
  parseRecordLines,
  tileOf,
  type ContentLine,
  type RecordLine,
} from './segment.js'

/** What does not hold of one event. */
export interface EventFault {
  readonly code: SegmentFaultCode
  readonly detail: string
  readonly slots?: readonly string[]
}

/** Does the event in a line make its leaf? Says what does not hold, or nothing. */
export type CheckLine = (
  organizationId: string,
  line: ContentLine,
  record: RecordLine,
) => EventFault | undefined

/** One leaf as it was found. */
export interface VerifiedLeaf {
  readonly index: number
  readonly eventId: string
  readonly sealedAt: Date
  /**
   * `archived`: its event is there, and makes the leaf. `damaged`: it was not there, or did not, when it was archived.
   * `expired`: it is not there any more, or was not looked for.
   */
  readonly content: 'archived' | 'damaged' | 'expired'
  /** Canonical JSON; '' where there was none when it was archived; undefined where it has expired. */
  readonly record: string | undefined
}

export interface LeafCounts {
  readonly leaves: number
  /** Leaves whose record has expired. */
  readonly recordsExpired: number
  /** Events that make their leaf. */
  readonly events: number
  /** Events that were damaged or gone when they were archived. */
  readonly damaged: number
  readonly expired: number
}

/** The lines of a segment, one after the other, and what they add up to. */
export class LeafChecks {
  #next: number
  #sealed: { readonly first: string; last: string } | undefined
  #withoutRecord = 0
  readonly #counts = { leaves: 0, events: 0, damaged: 0, expired: 0, recordsExpired: 0 }

  constructor(
    private readonly manifest: RecordsManifest,
    private readonly leavesManifest: Opened<LeavesManifest> | undefined,
    private readonly checkLine: CheckLine = rebuilds,
  ) {
    this.#next = manifest.from
  }

  get counts(): LeafCounts {
    return { ...this.#counts }
  }

  /** The records of one tile: every leaf of it, in order, each with its hash. */
  records(bytes: Buffer, first: number): readonly RecordLine[] {
    const { path } = (this.leavesManifest?.manifest ?? this.manifest).file
    const lines = parsed(path, first, () => parseRecordLines(bytes))
    for (const line of lines) {
      if (line.index !== this.#next || tileOf(line.index) !== tileOf(first))
        throw new SegmentFault('leaf_missing', path, 'another leaf stands in its place', {
          index: this.#next,
        })
      this.#record(path, line)
      this.#next += 1
    }
    if (this.#next < Math.min(this.manifest.to, (tileOf(first) + 1) * tileWidth))
      throw new SegmentFault('leaf_missing', path, 'it is not there', { index: this.#next })
    this.#counts.leaves += lines.length
    return lines
  }

  #record(path: string, { index, id, record, leafHash, sealedAt }: RecordLine): void {
    const fail = (detail: string) => new SegmentFault('record_differs', path, detail, { index, eventId: id })
    if (record === '') this.#withoutRecord += 1
    else if (record === undefined) this.#expiredRecord(path, index, id)
    else if (!leafHashOf(record).equals(leafHash)) throw fail('the record does not make the leaf hash')
    else if (!record.includes(`"id":"${id}"`)) throw fail('the record is of another event')
    if (this.#sealed === undefined) this.#sealed = { first: sealedAt, last: sealedAt }
    else if (sealedAt < this.#sealed.last) throw fail('it was sealed before the leaf before it')
    else this.#sealed.last = sealedAt
  }

  #expiredRecord(path: string, index: number, eventId: string): void {
    if (this.leavesManifest === undefined)
      throw new SegmentFault('record_missing', path, 'its record is not there', { index, eventId })
    this.#counts.recordsExpired += 1
  }

  /** The events of one tile. */
  contents(
    manifest: ContentManifest | undefined,
    member: OpenMember | undefined,
    records: readonly RecordLine[],
  ): VerifiedLeaf[] {
    const path = manifest?.file.path ?? ''
    const lines =
      member === undefined ? [] : parsed(path, member.member.first, () => parseContentLines(member.lines))
    let at = 0
    const leaves = records.map((record): VerifiedLeaf => {
      const line = lines[at]
      const { index, id: eventId } = record
      const leaf = { index, eventId, sealedAt: new Date(record.sealedAt), record: record.record }
      if (line?.index !== index) return { ...leaf, content: this.#without(path, leaf, manifest?.state) }
      at += 1
      return { ...leaf, content: this.#event(path, line, record) }
    })
    const stray = lines[at]
    if (stray !== undefined)
      throw new SegmentFault('leaf_missing', path, 'a line belongs to no leaf', { index: stray.index })
    return leaves
  }

  #without(
    path: string,
    { index, eventId }: { readonly index: number; readonly eventId: string },
    state: ContentState | undefined,
  ): 'expired' {
    if (state === 'kept')
      throw new SegmentFault('event_missing', path, 'its event is not there', { index, eventId })
    if (state !== undefined) this.#counts.expired += 1
    return 'expired'
  }

  #event(path: string, line: ContentLine, record: RecordLine): 'archived' | 'damaged' {
    const leaf = { index: record.index, eventId: record.id }
    if (line.id !== record.id)
      throw new SegmentFault('event_misplaced', path, 'another event stands in its place', leaf)
    if (record.record === undefined && !isEmptyLine(line))
      throw new SegmentFault('record_missing', path, 'its record is gone, and its content is there', leaf)
    if (isEmptyLine(line)) {
      this.#counts.damaged += 1
      return 'damaged'
    }
    const fault = this.checkLine(this.manifest.organizationId, line, record)
    if (fault !== undefined) throw new SegmentFault(fault.code, path, fault.detail, leaf, fault.slots)
    this.#counts.events += 1
    return 'archived'
  }

  requireCounts(records: Opened<RecordsManifest>, content: Opened<ContentManifest> | undefined): void {
    const { manifest } = records
    const { first, last } = this.#sealed ?? { first: '', last: '' }
    if (this.#withoutRecord !== manifest.damaged || this.#counts.leaves !== manifest.leaves)
      throw new SegmentFault('counts_differ', records.path, 'it counts other leaves than there are')
    if (
      this.leavesManifest !== undefined &&
      this.leavesManifest.manifest.expired !== this.#counts.recordsExpired
    )
      throw new SegmentFault('counts_differ', this.leavesManifest.path, 'other records are gone than it says')
    if (first !== manifest.sealedFrom || last !== manifest.sealedTo)
      throw new SegmentFault('counts_differ', records.path, 'its leaves were sealed at other times')
    if (content === undefined) return
    const { events, damaged } = content.manifest
    if (events !== this.#counts.events || damaged !== this.#counts.damaged)
      throw new SegmentFault('counts_differ', content.path, 'it counts other events than there are')
  }
}

function parsed<Value>(path: string, first: number, parse: () => Value): Value {
  try {
    return parse()
  } catch (error) {
    if (!(error instanceof MalformedLineError)) throw error
    throw new SegmentFault('member_malformed', path, error.message, { index: first })
  }
}

/** The check with the code that sealing and reading use. */
const rebuilds: CheckLine = (organizationId, line, record) => {
  const leafHash = leafHashOfLine(organizationId, line)
  if (leafHash === undefined)
    return { code: 'event_malformed', detail: 'the line has not the form of an event' }
  if (leafHash.equals(record.leafHash)) return undefined
  return { code: 'record_differs', detail: 'the event does not make the leaf' }
}
