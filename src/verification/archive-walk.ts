/**
 * Walks an archive from end to end: every segment of every log, and the chain from each to the next. From the archive's
 * own bytes and verifier keys; events are checked by the second implementation of the rules (event-check.ts).
 *
 * What an archive alone cannot say: whether the newest segments of a log, or a whole log, were taken away. Compare `to`
 * with what was archived, or verify the server too.
 */
import type { SegmentRange } from '../archive/contract.js'
import { SegmentFault } from '../archive/segment-fault.js'
import { contentManifestPath, recordsManifestPath } from '../archive/segment-paths.js'
import { verifySegment, type SegmentVerification } from '../archive/segment-verify.js'
import type { ArchiveStore } from '../archive/stores/contract.js'
import { base64 } from '../transparency-log/encoding.js'
import { equalHashes } from '../transparency-log/hash.js'
import type { Verifier } from '../transparency-log/note.js'
import { ArchivedEvents, type ArchivedEventsOptions } from './archive-events.js'
import {
  ArchiveExpiries,
  GoneEvents,
  GoneRecords,
  leavesThatCount,
  revisionThatCounts,
} from './archive-expiries.js'
import { isOfLog, listSegments, type ListedPart, type ListedSegment } from './archive-listing.js'
import { ArchivedLogKeys } from './archive-log-keys.js'
import type { FieldState, Finding } from './contract.js'
import { Findings } from './findings.js'

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

export interface ArchiveWalkOptions extends ArchivedEventsOptions, ListedPart {
  readonly verifiers: readonly Verifier[]
  readonly values: boolean
  readonly onProgress?: (leaves: number, total: number) => void
}

type Store = Pick<ArchiveStore, 'get' | 'list'>

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
}

class ArchiveWalk {
  readonly #findings = new Findings()
  readonly #logKeys = new ArchivedLogKeys()
  /** Of the organization that is being walked. */
  readonly #expiries = new ArchiveExpiries()
  readonly #archivedEvents: ArchivedEvents
  readonly #logs: ArchivedLog[] = []
  #logCount = 0
  #current: Current | undefined
  /** The last record that is there, of the log that is being walked. */
  #seen: { record: string | undefined } = { record: undefined }
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
  ) {
    this.#archivedEvents = new ArchivedEvents(options, this.#findings, (event) => this.#expiries.meet(event))
  }

  async run(): Promise<ArchiveReport> {
    await this.#look()
    const segments = listSegments(this.store, this.options, (path) => this.#unknown(path))
    for await (const segment of segments) await this.#segment(segment)
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
      fields: this.#archivedEvents.fields.all(),
      findings: this.#findings.sorted(),
      findingCount: this.#findings.count,
    }
  }

  /** How much there is, and whose signatures count in it. */
  async #look(): Promise<void> {
    const { verifiers, logVerifiers } = this.options
    let newest: ListedSegment | undefined
    const learn = async () => {
      if (newest !== undefined && logVerifiers === undefined)
        await this.#logKeys.read(this.store, newest, verifiers)
    }
    for await (const segment of listSegments(this.store, this.options)) {
      this.#total += segment.to - segment.from
      if (!segment.hasRecordsManifest) continue
      if (newest !== undefined && !isOfLog(newest, segment)) await learn()
      newest = segment
    }
    await learn()
  }

  #unknown(path: string): void {
    this.#findings.add({ code: 'object_unknown', at: path, detail: 'no segment has such an object' })
  }

  async #segment(segment: ListedSegment): Promise<void> {
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
        ? await revisionThatCounts(this.store, segment, this.#proving)
        : undefined
      if (revision === 0)
        throw new SegmentFault('manifest_missing', contentManifestPath(range, 1), 'it is not there')
      const logVerifiers = this.options.logVerifiers?.(organizationId, generation)
      const verified = await verifySegment(this.store, range, {
        verifiers: this.options.verifiers,
        ...(logVerifiers === undefined ? {} : { logVerifiers }),
        revision,
        leaves: await leavesThatCount(this.store, segment, this.#proving),
        previous: before?.last,
        checkLine: (organization, line, record) =>
          this.#archivedEvents.check(range, organization, line, record),
        onLeaves: async (leaves) => {
          if (revision !== undefined) gone.look(leaves)
          records.look(leaves)
          await this.#archivedEvents.account(organizationId)
        },
        onProgress: (leaves) => this.options.onProgress?.(started + leaves, this.#total),
      })
      this.#verified(range, verified)
      const { manifest, sha256 } = verified.records
      this.#expiries.add(segment, { ...manifest, sha256 }, gone, records)
    } catch (error) {
      if (!(error instanceof SegmentFault)) throw error
      this.#archivedEvents.drop()
      this.#findings.add(findingOf(error, generation))
      this.#leave(range, undefined)
    }
    this.#leaves = started + to - from
  }

  /** The segment before, where this one has to go on from it. */
  async #enter(range: SegmentRange): Promise<Current | undefined> {
    const current = this.#current
    if (current === undefined || !isOfLog(current.log, range)) {
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
    this.#leave(range, records.sha256, checkpoint)
    this.#logKeys.add(records.manifest.logKeys)
  }

  #leave(
    range: SegmentRange,
    last: string | undefined,
    checkpoint?: { readonly size: number; readonly root: Uint8Array },
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
    this.#current = { log, last, root }
  }

  get #proving() {
    return { ...this.options, logKeys: this.#logKeys.all }
  }

  async #settleExpiries(): Promise<void> {
    const { expired, expiredRecords, findings } = await this.#expiries.settle(this.store, this.#proving)
    this.#expired += expired
    this.#expiredRecords += expiredRecords
    for (const finding of findings) this.#findings.add(finding)
  }

  async #closeLog(): Promise<void> {
    if (this.#current === undefined) return
    await this.#archivedEvents.settle(this.#current.log, this.#logKeys.all)
    this.#logCount += 1
    if (this.#logs.length < maxLogs) this.#logs.push(this.#current.log)
    this.#current = undefined
  }
}

const findingOf = ({ code, path, detail, leaf, slots }: SegmentFault, generation: number): Finding => ({
  code,
  at: path,
  detail,
  ...(leaf === undefined ? {} : { leaf: { generation, ...leaf } }),
  ...(slots === undefined ? {} : { slots }),
})
