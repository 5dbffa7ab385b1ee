/**
 * Walks an archive from end to end: every segment of every log, and the chain from each to the next. From the archive's
 * own bytes and verifier keys; events are checked by the second implementation of the rules (event-check.ts).
 *
 * What an archive alone cannot say: whether the newest segments of a log, or a whole log, were taken away. Compare `to`
 * with what was archived, or verify the server too.
 */
import type { SegmentRange } from '../archive/contract.js'
import { SegmentFault } from '../archive/segment-fault.js'
import {
  archiveKeysPath,
  contentManifestPath,
  parseSegmentPath,
  recordsManifestPath,
  type SegmentObject,
} from '../archive/segment-paths.js'
import type { CheckLine } from '../archive/segment-leaf-checks.js'
import { verifySegment, type SegmentVerification } from '../archive/segment-verify.js'
import type { ContentLine, RecordLine } from '../archive/segment.js'
import type { ArchiveStore } from '../archive/stores/contract.js'
import { base64 } from '../transparency-log/encoding.js'
import { equalHashes } from '../transparency-log/hash.js'
import type { Verifier } from '../transparency-log/note.js'
import {
  ArchiveExpiries,
  GoneEvents,
  GoneRecords,
  leavesThatCount,
  revisionThatCounts,
  type ExpiringSegment,
} from './archive-expiries.js'
import type { Excuse, FieldState, Finding, LeafName } from './contract.js'
import { provedErasure } from './erasure-proof-check.js'
import { Erasures, isErasure, type GoneField, type Sha256 } from './erasures.js'
import { FieldCounts, Findings } from './findings.js'
import { nodeRules } from './node-rules.js'

/** One log as far as it is in the archive. */
export interface ArchivedLog {
  readonly organizationId: string
  readonly generation: number
  /** First leaf that is there; those before it are not in this archive. */
  readonly from: number
  readonly to: number
  readonly segments: number
  /** The newest checkpoint that a segment leads to: leaves, and root in standard base64. */
  readonly size: number
  readonly root: string
}

export interface ArchiveReport {
  /** The first thousand; `logCount` says how many there are. */
  readonly logs: readonly ArchivedLog[]
  readonly logCount: number
  readonly segments: number
  /** Data that no manifest names: what an attempt that died left behind, or is writing now. */
  readonly unfinished: number
  readonly leaves: number
  readonly records: number
  /** Events whose values were checked. */
  readonly events: number
  /** Events that were damaged or gone when they were archived. */
  readonly damaged: number
  /** Events whose content has expired since, as a sealed event says and a policy allowed. */
  readonly expired: number
  /** Leaves whose record has expired too. */
  readonly expiredRecords: number
  readonly fields: Readonly<Record<FieldState, number>>
  readonly findings: readonly Finding[]
  readonly findingCount: number
}

export interface ArchiveWalkOptions {
  readonly verifiers: readonly Verifier[]
  /** Keys of a log's checkpoints that were had from elsewhere; undefined = those that manifests name. */
  readonly logVerifiers?: (organizationId: string, generation: number) => readonly Verifier[] | undefined
  readonly organizationId?: string | undefined
  readonly generation?: number | undefined
  readonly values: boolean
  readonly excuse?: Excuse | undefined
  readonly sha256: Sha256
  /** The manifest of an erasure by its hash; it need not be trusted. */
  readonly manifest?:
    ((organizationId: string, sha256: string) => Promise<Uint8Array | undefined>) | undefined
  /** The proofs that erasures of an organization were sealed, from the ledger; they need not be trusted. */
  readonly erasureProofs?: ((organizationId: string) => AsyncIterable<Uint8Array>) | undefined
  readonly onProgress?: (leaves: number, total: number) => void
}

type Store = Pick<ArchiveStore, 'get' | 'list'>

interface Segment extends ExpiringSegment {
  readonly hasRecordsManifest: boolean
}

const maxLogs = 1_000

/** @throws ArchiveStoreError */
export async function walkArchive(store: Store, options: ArchiveWalkOptions): Promise<ArchiveReport> {
  return new ArchiveWalk(store, options).run()
}

/** The log that is being walked. */
interface Current {
  readonly log: ArchivedLog
  /** SHA-256 of its last records manifest; undefined where that could not be read. */
  readonly last: string | undefined
  readonly root: Uint8Array
  /** Those that its newest segment names. */
  readonly logKeys: readonly string[]
}

class ArchiveWalk {
  readonly #findings = new Findings()
  readonly #fields = new FieldCounts()
  /** Of the organization that is being walked. */
  readonly #expiries = new ArchiveExpiries()
  readonly #logs: ArchivedLog[] = []
  #logCount = 0
  #current: Current | undefined
  /** The last record that is there, of the log that is being walked. */
  #seen: { record: string | undefined } = { record: undefined }
  /** Values that are gone in the log that is being walked, and what accounts for them. */
  #erasures: { readonly of: string; readonly erasures: Erasures; readonly findings: Findings } | undefined
  /** Of the leaves of one tile, in their order. */
  readonly #waiting: ((erasures: Erasures) => Promise<void> | void)[] = []
  #segments = 0
  #unfinished = 0
  #leaves = 0
  #records = 0
  #events = 0
  #damaged = 0
  #expired = 0
  #expiredRecords = 0
  #total = 0

  constructor(
    private readonly store: Store,
    private readonly options: ArchiveWalkOptions,
  ) {}

  async run(): Promise<ArchiveReport> {
    for await (const { from, to } of this.#list()) this.#total += to - from
    for await (const segment of this.#list((path) => this.#unknown(path))) await this.#segment(segment)
    await this.#closeLog()
    await this.#settleExpiries()
    return {
      logs: this.#logs,
      logCount: this.#logCount,
      segments: this.#segments,
      unfinished: this.#unfinished,
      leaves: this.#leaves,
      records: this.#records,
      events: this.#events,
      damaged: this.#damaged,
      expired: this.#expired,
      expiredRecords: this.#expiredRecords,
      fields: this.#fields.all(),
      findings: this.#findings.sorted(),
      findingCount: this.#findings.count,
    }
  }

  /** Segments in the order of paths: those of one log follow each other, and one begins where the one before ends. */
  async *#list(unknown: (path: string) => void = () => undefined): AsyncGenerator<Segment> {
    const { organizationId, generation } = this.options
    const log = generation === undefined ? '' : `${String(generation)}/`
    const prefix = organizationId === undefined ? '' : `${organizationId}/${log}`
    let open: Segment | undefined
    for await (const { path } of this.store.list(prefix)) {
      const object = parseSegmentPath(path)
      if (object === undefined) {
        if (path !== archiveKeysPath) unknown(path)
        continue
      }
      if (open !== undefined && !isOfSegment(object, open)) {
        yield open
        open = undefined
      }
      open = withObject(open, object, path)
    }
    if (open !== undefined) yield open
  }

  #unknown(path: string): void {
    this.#findings.add({ code: 'object_unknown', at: path, detail: 'no segment has such an object' })
  }

  async #segment(segment: Segment): Promise<void> {
    const { organizationId, generation, from, to, hasRecordsManifest, revisions } = segment
    const range = { organizationId, generation, from, to }
    if (!hasRecordsManifest && revisions.length === 0) {
      this.#unfinished += 1
      return
    }
    this.#segments += 1
    if (this.#current?.log.organizationId !== organizationId) await this.#settleExpiries()
    const before = await this.#enter(range)
    const started = this.#leaves
    const gone = new GoneEvents()
    const records = new GoneRecords(this.#seen)
    try {
      const revision = this.options.values
        ? await revisionThatCounts(this.store, segment, this.options)
        : undefined
      if (revision === 0)
        throw new SegmentFault('manifest_missing', contentManifestPath(range, 1), 'it is not there')
      const logVerifiers = this.options.logVerifiers?.(organizationId, generation)
      const verified = await verifySegment(this.store, range, {
        verifiers: this.options.verifiers,
        ...(logVerifiers === undefined ? {} : { logVerifiers }),
        revision,
        leaves: await leavesThatCount(this.store, segment, this.options),
        previous: before?.last,
        checkLine: (organization, line, record) => this.#line(range, organization, line, record),
        onLeaves: async (leaves) => {
          if (revision !== undefined) gone.look(leaves)
          records.look(leaves)
          await this.#account(organizationId)
        },
        onProgress: (leaves) => this.options.onProgress?.(started + leaves, this.#total),
      })
      this.#verified(range, verified)
      const { manifest, sha256 } = verified.records
      this.#expiries.add(segment, { ...manifest, sha256 }, gone, records)
    } catch (error) {
      if (!(error instanceof SegmentFault)) throw error
      this.#waiting.length = 0
      this.#findings.add(findingOf(error, generation))
      this.#leave(range, undefined)
    }
    this.#leaves = started + to - from
  }

  /** The segment before, where this one has to go on from it. */
  async #enter(range: SegmentRange): Promise<Current | undefined> {
    const current = this.#current
    const isOfLog =
      current?.log.organizationId === range.organizationId && current.log.generation === range.generation
    if (!isOfLog) {
      await this.#closeLog()
      this.#seen = { record: undefined }
      return undefined
    }
    if (current.log.to === range.from) return current
    const detail = `it begins at leaf ${String(range.from)}, and the one before it ends at ${String(current.log.to)}`
    this.#findings.add({
      code: 'chain_broken',
      at: recordsManifestPath(range),
      detail,
      leaf: { generation: range.generation, index: Math.min(range.from, current.log.to) },
    })
    return undefined
  }

  #verified(range: SegmentRange, { records, checkpoint, ...counts }: SegmentVerification): void {
    this.#records += counts.leaves - records.manifest.damaged - counts.recordsExpired
    this.#events += counts.events
    this.#damaged += counts.damaged
    const known = this.#current
    if (known?.log.size === checkpoint.size && !equalHashes(known.root, checkpoint.root)) {
      const detail = `two different trees of ${String(checkpoint.size)} leaves were signed`
      this.#findings.add({ code: 'checkpoint_inconsistent', at: records.path, detail })
    }
    this.#leave(range, records.sha256, { ...checkpoint, logKeys: records.manifest.logKeys })
  }

  #leave(
    range: SegmentRange,
    last: string | undefined,
    checkpoint?: {
      readonly size: number
      readonly root: Uint8Array
      readonly logKeys: readonly string[]
    },
  ): void {
    const { organizationId, generation, from, to } = range
    const known = this.#current
    const isNewer = checkpoint !== undefined && checkpoint.size >= (known?.log.size ?? 0)
    const root = isNewer ? checkpoint.root : (known?.root ?? new Uint8Array())
    const log = {
      organizationId,
      generation,
      from: known?.log.from ?? from,
      to,
      segments: (known?.log.segments ?? 0) + 1,
      size: isNewer ? checkpoint.size : (known?.log.size ?? 0),
      root: base64(root),
    }
    this.#current = { log, last, root, logKeys: checkpoint?.logKeys ?? known?.logKeys ?? [] }
  }

  async #account(organizationId: string): Promise<void> {
    if (this.#waiting.length === 0) return
    this.#erasures ??= this.#newErasures(organizationId)
    for (const next of this.#waiting.splice(0)) await next(this.#erasures.erasures)
  }

  #newErasures(organizationId: string) {
    const { manifest, sha256 } = this.options
    const findings = new Findings()
    const read = manifest && ((named: string) => manifest(organizationId, named))
    return {
      of: organizationId,
      erasures: new Erasures(this.#fields, findings, sha256, read),
      findings,
    }
  }

  /** What nothing has accounted for by the end of a log is missing. */
  async #settle(): Promise<void> {
    const settled = this.#erasures
    if (settled === undefined) return
    if (settled.erasures.waits) await this.#meetProved(settled.erasures)
    settled.erasures.settle()
    for (const finding of settled.findings.sorted())
      this.#findings.add({ ...finding, at: `${settled.of} ${finding.at}` })
    this.#erasures = undefined
  }

  /** The events of erasures that are not archived yet stand behind all that is: the ledger has their proofs. */
  async #meetProved(erasures: Erasures): Promise<void> {
    const { erasureProofs, logVerifiers } = this.options
    if (this.#current === undefined || erasureProofs === undefined) return
    const { log, logKeys } = this.#current
    for await (const bytes of erasureProofs(log.organizationId)) {
      const event = provedErasure(bytes, { range: log, logKeys }, logVerifiers)
      if (event !== undefined) await erasures.meet(event)
      if (!erasures.waits) return
    }
  }

  async #settleExpiries(): Promise<void> {
    const { expired, expiredRecords, findings } = await this.#expiries.settle(this.store, this.options)
    this.#expired += expired
    this.#expiredRecords += expiredRecords
    for (const finding of findings) this.#findings.add(finding)
  }

  async #closeLog(): Promise<void> {
    await this.#settle()
    if (this.#current === undefined) return
    this.#logCount += 1
    if (this.#logs.length < maxLogs) this.#logs.push(this.#current.log)
    this.#current = undefined
  }

  /** Counts the fields of an event. A value that is gone is a finding, and the walk goes on. */
  #line(
    range: SegmentRange,
    organizationId: string,
    line: ContentLine,
    record: RecordLine,
  ): ReturnType<CheckLine> {
    const name: LeafName = { generation: range.generation, index: record.index, eventId: record.id }
    const { excuse } = this.options
    const known = record.record === '' ? undefined : record.record
    const event = verifiableOf(organizationId, line)
    const gone: GoneField[] = []
    const check = nodeRules.checkEvent(event, known, (slot, subject) => {
      const state = excuse?.(name, slot, subject)
      if (state === undefined) gone.push({ slot, subject })
      return state
    })
    if (check.problem !== undefined) {
      this.#fields.add('missing', check.fields.length)
      return check.problem
    }
    if (known === undefined && !makesLeaf(check.record, record.leafHash))
      return { code: 'record_differs', detail: 'the event does not make the leaf' }
    for (const { state } of check.fields) if (state !== 'missing') this.#fields.add(state)
    if (gone.length > 0) this.#waiting.push((erasures) => erasures.note(name, gone))
    this.#expiries.meet(event)
    if (isErasure(event)) this.#waiting.push((erasures) => erasures.meet(event))
    return undefined
  }
}

const isOfSegment = (a: SegmentRange, b: SegmentRange): boolean =>
  a.organizationId === b.organizationId && a.generation === b.generation && a.from === b.from && a.to === b.to

function withObject(segment: Segment | undefined, object: SegmentObject, path: string): Segment {
  const { organizationId, generation, from, to, kind, revision } = object
  return {
    organizationId,
    generation,
    from,
    to,
    hasRecordsManifest: segment?.hasRecordsManifest === true || kind === 'recordsManifest',
    hasRecords: segment?.hasRecords === true || kind === 'records',
    leaves: [...(segment?.leaves ?? []), ...(kind === 'leavesManifest' ? [revision] : [])].sort(
      (a, b) => a - b,
    ),
    revisions: [...(segment?.revisions ?? []), ...(kind === 'contentManifest' ? [revision] : [])].sort(
      (a, b) => a - b,
    ),
    proofs: [...(segment?.proofs ?? []), ...(kind === 'expiryProof' || kind === 'leavesProof' ? [path] : [])],
  }
}

const findingOf = ({ code, path, detail, leaf, slots }: SegmentFault, generation: number): Finding => ({
  code,
  at: path,
  detail,
  ...(leaf === undefined ? {} : { leaf: { generation, ...leaf } }),
  ...(slots === undefined ? {} : { slots }),
})

/** The verifiable form of the event in a line: no terms, and of a person's ciphertext only that it is there. */
function verifiableOf(organizationId: string, line: ContentLine): unknown {
  const { fields } = line
  if (!Array.isArray(fields)) return { ...line, organizationId }
  return { ...line, organizationId, fields: (fields as readonly unknown[]).flatMap(shownField) }
}

function shownField(field: unknown): unknown[] {
  if (typeof field !== 'object' || field === null) return [field]
  if (!('slot' in field)) return []
  return 'sealed' in field && typeof field.sealed === 'string' ? [{ ...field, withheld: true }] : [field]
}

const makesLeaf = (record: string | undefined, leafHash: Uint8Array): boolean =>
  record !== undefined && equalHashes(nodeRules.hasher.leaf(Buffer.from(record, 'utf8')), leafHash)
