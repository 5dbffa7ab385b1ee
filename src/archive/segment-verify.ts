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
import { openCheckpoint, type OpenedCheckpoint } from '../transparency-log/checkpoint.js'
import { base64Bytes } from '../transparency-log/encoding.js'
import { LogError } from '../transparency-log/errors.js'
import { Frontier } from '../transparency-log/frontier.js'
import { equalHashes, type Hash } from '../transparency-log/hash.js'
import { nodeHasher } from '../transparency-log/node-crypto.js'
import { maxNoteBytes, type Verifier } from '../transparency-log/note.js'
import { checkTree } from '../transparency-log/proof.js'
import type { SegmentRange } from './contract.js'
import { SegmentFault, type SegmentFaultCode } from './segment-fault.js'
import { verifiersOf } from './segment-keys.js'
import { LeafChecks, type CheckLine, type LeafCounts, type VerifiedLeaf } from './segment-leaf-checks.js'
import {
  contentRevisions,
  leavesRevisions,
  openRecordsManifest,
  type ContentManifest,
  type LeavesManifest,
  type Opened,
  type RecordsManifest,
  type RevisedManifest,
  type Revisions,
} from './segment-manifest.js'
import { recordsManifestPath } from './segment-paths.js'
import { readMembers, readObject, type OpenMember } from './segment-reader.js'
import { tileOf } from './segment.js'
import type { ArchiveStore } from './stores/contract.js'

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

export interface SegmentVerification extends LeafCounts {
  readonly records: Opened<RecordsManifest>
  readonly content: Opened<ContentManifest> | undefined
  readonly leavesManifest: Opened<LeavesManifest> | undefined
  readonly checkpoint: OpenedCheckpoint
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
  const { verifiers, previous } = options
  const records = openRecordsManifest(
    await manifestBytes(store, recordsManifestPath(range)),
    range,
    verifiers,
  )
  if (previous !== undefined && records.manifest.previous !== previous)
    throw new SegmentFault('chain_broken', records.path, 'it does not name the segment before it')
  const { sha256 } = records
  const opened = <Manifest extends RevisedManifest>(of: Revisions<Manifest>, revision: number | undefined) =>
    revision === undefined
      ? undefined
      : openRevision(store, of, { range, revision, verifiers, records: sha256 })
  const content = await opened(contentRevisions, options.revision)
  const leavesManifest = await opened(leavesRevisions, options.leaves)
  const checkpoint = checkEvidence(records, range, options.logVerifiers)
  const counts = await verifyLeaves(store, records, leavesManifest, content, options)
  return { records, content, leavesManifest, checkpoint, ...counts }
}

interface OpenOptions {
  readonly range: SegmentRange
  readonly revision: number
  readonly verifiers: readonly Verifier[]
  /** SHA-256 of the records manifest that it has to belong to. */
  readonly records: string
}

async function openRevision<Manifest extends RevisedManifest>(
  store: Pick<ArchiveStore, 'get'>,
  { manifestPath, open }: Revisions<Manifest>,
  { range, revision, verifiers, records }: OpenOptions,
): Promise<Opened<Manifest>> {
  const note = await manifestBytes(store, manifestPath(range, revision))
  const opened = open(note, range, revision, verifiers)
  if (opened.manifest.records !== records)
    throw new SegmentFault('chain_broken', opened.path, 'it belongs to other records')
  return opened
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

async function verifyLeaves(
  store: Pick<ArchiveStore, 'get'>,
  records: Opened<RecordsManifest>,
  leavesManifest: Opened<LeavesManifest> | undefined,
  content: Opened<ContentManifest> | undefined,
  options: VerifyOptions,
): Promise<LeafCounts> {
  const { manifest, path } = records
  const { from } = manifest
  const { file } = leavesManifest?.manifest ?? manifest
  const frontier = frontierOf(records)
  const lines = new LeafChecks(manifest, leavesManifest, options.checkLine)
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
