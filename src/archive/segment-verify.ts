/**
 * Verifies a segment from the archive's own bytes and nothing else: signatures of manifests → the chain → sizes and
 * SHA-256 of files → each event's values, commitments and record → leaves → the root at `to` → the checkpoint and its
 * signature. In memory are a few members, however large the segment.
 *
 * Once records have expired, a leaves file stands in the place of the records: the leaf hashes are all there, so all of it
 * still leads to the root.
 *
 * What it says of a leaf on the way counts only once the whole is verified: until then act on nothing.
 */
import { leafHashOf } from '../events/record.js'
import { openCheckpoint, type OpenedCheckpoint } from '../transparency-log/checkpoint.js'
import { base64Bytes } from '../transparency-log/encoding.js'
import { LogError } from '../transparency-log/errors.js'
import { Frontier } from '../transparency-log/frontier.js'
import { equalHashes, type Hash } from '../transparency-log/hash.js'
import { nodeHasher } from '../transparency-log/node-crypto.js'
import { maxNoteBytes, type Verifier } from '../transparency-log/note.js'
import { checkTree } from '../transparency-log/proof.js'
import { tileWidth } from '../transparency-log/tile.js'
import type { ContentState, SegmentRange } from './contract.js'
import { SegmentFault, type SegmentFaultCode } from './segment-fault.js'
import { verifiersOf } from './segment-keys.js'
import {
  openContentManifest,
  openLeavesManifest,
  openRecordsManifest,
  type ContentManifest,
  type LeavesManifest,
  type Opened,
  type RecordsManifest,
} from './segment-manifest.js'
import { contentManifestPath, leavesManifestPath, recordsManifestPath } from './segment-paths.js'
import { readMembers, readObject, type OpenMember } from './segment-reader.js'
import {
  isEmptyLine,
  MalformedLineError,
  parseContentLines,
  parseRecordLines,
  leafHashOfLine,
  tileOf,
  type ContentLine,
  type RecordLine,
} from './segment.js'
import type { ArchiveStore } from './stores/contract.js'

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

export interface VerifyOptions {
  /** Keys of manifests, of which one must have signed. */
  readonly verifiers: readonly Verifier[]
  /** Keys of the log's checkpoints that were had from elsewhere; absent = those that the manifest names. */
  readonly logVerifiers?: readonly Verifier[] | undefined
  /** Revision of the content that is to be verified; undefined = records only. */
  readonly revision: number | undefined
  /** Revision of the leaves that stand in the place of the records; absent = the records as they were archived. */
  readonly leaves?: number | undefined
  /** SHA-256 of the records manifest of the segment before; null = there is none; undefined = not compared. */
  readonly previous?: string | null | undefined
  /** Absent = the rules that intake and sealing use (events/rebuild.ts). */
  readonly checkLine?: CheckLine
  /** The leaves of a tile at a time. Counts once the whole is verified. */
  readonly onLeaves?: (leaves: readonly VerifiedLeaf[]) => void | Promise<void>
  /** Leaves so far. */
  readonly onProgress?: (leaves: number) => void
  /** Checked between tiles; throws its reason. */
  readonly signal?: AbortSignal
}

export interface SegmentVerification {
  readonly records: Opened<RecordsManifest>
  readonly content: Opened<ContentManifest> | undefined
  readonly leavesManifest: Opened<LeavesManifest> | undefined
  readonly checkpoint: OpenedCheckpoint
  readonly leaves: number
  /** Leaves whose record has expired. */
  readonly recordsExpired: number
  /** Events that make their leaf. */
  readonly events: number
  /** Events that were damaged or gone when they were archived. */
  readonly damaged: number
  readonly expired: number
}

/**
 * Verifies a segment.
 * @throws SegmentFault at the first thing that does not hold; ArchiveStoreError
 */
export async function verifySegment(
  store: Pick<ArchiveStore, 'get'>,
  range: SegmentRange,
  options: VerifyOptions,
): Promise<SegmentVerification> {
  const { verifiers, revision, previous } = options
  const records = openRecordsManifest(
    await manifestBytes(store, recordsManifestPath(range)),
    range,
    verifiers,
  )
  if (previous !== undefined && records.manifest.previous !== previous)
    throw new SegmentFault('chain_broken', records.path, 'it does not name the segment before it')
  const content = revision === undefined ? undefined : await openContent(store, range, revision, options)
  if (content !== undefined && content.manifest.records !== records.sha256)
    throw new SegmentFault('chain_broken', content.path, 'it belongs to other records')
  const leavesManifest =
    options.leaves === undefined ? undefined : await openLeaves(store, range, options.leaves, options)
  if (leavesManifest !== undefined && leavesManifest.manifest.records !== records.sha256)
    throw new SegmentFault('chain_broken', leavesManifest.path, 'it stands in the place of other records')
  const checkpoint = checkEvidence(records, range, options.logVerifiers)
  const counts = await verifyLeaves(store, records, leavesManifest, content, options)
  return { records, content, leavesManifest, checkpoint, ...counts }
}

async function openLeaves(
  store: Pick<ArchiveStore, 'get'>,
  range: SegmentRange,
  revision: number,
  { verifiers }: VerifyOptions,
): Promise<Opened<LeavesManifest>> {
  const note = await manifestBytes(store, leavesManifestPath(range, revision))
  return openLeavesManifest(note, range, revision, verifiers)
}

async function openContent(
  store: Pick<ArchiveStore, 'get'>,
  range: SegmentRange,
  revision: number,
  { verifiers }: VerifyOptions,
): Promise<Opened<ContentManifest>> {
  const note = await manifestBytes(store, contentManifestPath(range, revision))
  return openContentManifest(note, range, revision, verifiers)
}

async function manifestBytes(store: Pick<ArchiveStore, 'get'>, path: string): Promise<Buffer> {
  const bytes = await readObject(store, path, maxNoteBytes)
  if (bytes === undefined) throw new SegmentFault('manifest_missing', path, 'it is not there')
  return bytes
}

/** From the root at `to` to the checkpoint's signature. */
function checkEvidence(
  { manifest, path }: Opened<RecordsManifest>,
  { organizationId, generation, to }: SegmentRange,
  given: readonly Verifier[] | undefined,
): OpenedCheckpoint {
  const fail = (code: SegmentFaultCode, detail: string) => new SegmentFault(code, path, detail)
  let checkpoint: OpenedCheckpoint
  try {
    const logKeys = given ?? verifiersOf(manifest.logKeys)
    const origin = logKeys[0]?.name ?? ''
    if (!origin.endsWith(`/${organizationId}/${String(generation)}`))
      throw fail('checkpoint_foreign', 'its checkpoint is said to be of another log')
    checkpoint = openCheckpoint(manifest.checkpoint, { origin, logKeys })
  } catch (error) {
    if (!(error instanceof LogError)) throw error
    throw fail(error.code === 'wrong_origin' ? 'checkpoint_foreign' : 'checkpoint_invalid', error.detail)
  }
  const { size, root } = checkpoint
  try {
    const claim = { oldSize: to, oldRoot: hashOf(manifest.root), newSize: size, newRoot: root }
    checkTree(manifest.consistency.map(hashOf), claim, nodeHasher)
  } catch (error) {
    if (!(error instanceof LogError)) throw error
    throw fail('checkpoint_inconsistent', 'the tree that was signed does not begin with that of the segment')
  }
  return checkpoint
}

/** Texts of manifests have passed their schema. */
function hashOf(text: string): Hash {
  const bytes = base64Bytes(text)
  if (bytes === undefined) throw new Error('a hash in a manifest is base64')
  return bytes
}

type Counts = Pick<SegmentVerification, 'leaves' | 'events' | 'damaged' | 'expired' | 'recordsExpired'>

async function verifyLeaves(
  store: Pick<ArchiveStore, 'get'>,
  records: Opened<RecordsManifest>,
  leavesManifest: Opened<LeavesManifest> | undefined,
  content: Opened<ContentManifest> | undefined,
  options: VerifyOptions,
): Promise<Counts> {
  const { manifest, path } = records
  const { from } = manifest
  const { file } = leavesManifest?.manifest ?? manifest
  const frontier = frontierOf(records)
  const lines = new LeafChecks(manifest, leavesManifest, options.checkLine ?? rebuilds)
  const contents = content === undefined ? undefined : new MembersByTile(store, content.manifest)
  try {
    for await (const { member, lines: bytes } of readMembers(store, file)) {
      options.signal?.throwIfAborted()
      const tile = lines.records(bytes, member.first)
      for (const { leafHash } of tile) frontier.append(leafHash)
      const under = await contents?.take(tileOf(member.first))
      const leaves = lines.contents(content?.manifest, under, tile)
      await options.onLeaves?.(leaves)
      options.onProgress?.(frontier.size - from)
    }
    await contents?.end()
  } finally {
    await contents?.close()
  }
  if (!equalHashes(frontier.root(), hashOf(manifest.root)))
    throw new SegmentFault('root_differs', path, 'the leaves do not hash to the root that was signed')
  lines.requireCounts(records, content)
  return lines.counts
}

function frontierOf({ manifest, path }: Opened<RecordsManifest>): Frontier {
  try {
    return Frontier.resume(manifest.from, manifest.frontier.map(hashOf), nodeHasher)
  } catch (error) {
    if (!(error instanceof LogError)) throw error
    throw new SegmentFault('manifest_invalid', path, error.detail)
  }
}

/** The members of a content file beside those of the records: some tiles have none. */
class MembersByTile {
  readonly #members: AsyncGenerator<OpenMember, void, undefined>
  #next: Promise<IteratorResult<OpenMember, void>> | undefined

  constructor(
    store: Pick<ArchiveStore, 'get'>,
    private readonly manifest: ContentManifest,
  ) {
    this.#members = readMembers(store, manifest.file)
  }

  async take(tile: number): Promise<OpenMember | undefined> {
    this.#next ??= this.#members.next()
    const next = await this.#next
    if (next.done === true || tileOf(next.value.member.first) !== tile) return undefined
    this.#next = undefined
    return next.value
  }

  /** Reads to the end of the file, where its size and hash are known. */
  async end(): Promise<void> {
    const next = await (this.#next ?? this.#members.next())
    if (next.done !== true)
      throw new SegmentFault('manifest_invalid', this.manifest.file.path, 'it has members beyond its leaves')
  }

  async close(): Promise<void> {
    await this.#next?.catch(() => undefined)
    await this.#members.return(undefined)
  }
}

/** The lines of a segment, one after the other, and what they add up to. */
class LeafChecks {
  #next: number
  #sealed: { readonly first: string; last: string } | undefined
  #withoutRecord = 0
  readonly #counts = { leaves: 0, events: 0, damaged: 0, expired: 0, recordsExpired: 0 }

  constructor(
    private readonly manifest: RecordsManifest,
    private readonly leavesManifest: Opened<LeavesManifest> | undefined,
    private readonly checkLine: CheckLine,
  ) {
    this.#next = manifest.from
  }

  get counts(): Counts {
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
