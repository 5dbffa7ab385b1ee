/**
 * Manifests of segments: signed notes (C2SP signed-note, transparency-log/note.ts) whose text is one line, the RFC 8785
 * JSON of one of the three objects below. The name of the key is `<ANNALS_LOG_ORIGIN>/archive`, the key one of the purpose
 * `manifest`, which signs nothing else. Hashes are standard base64, SHA-256 of files and manifests 64 hex digits, times
 * RFC 3339 in UTC with three digits.
 *
 *     records   {format: "annals/segment-records/v1", organizationId, generation, from, to, file, leaves, damaged,
 *                sealedFrom, sealedTo, frontier, root, consistency, checkpoint, logKeys, previous}
 *     content   {format: "annals/segment-content/v1", organizationId, generation, from, to, file, events, damaged,
 *                revision, state, ledgerSequence, records}
 *     leaves    {format: "annals/segment-leaves/v1", organizationId, generation, from, to, file, expired, revision, records}
 *     file      {path, bytes, sha256, members: [{first, offset, bytes}]}
 *
 * `to` is exclusive. `damaged` counts, of records, leaves without one, of content, events that were damaged or gone when
 * they were archived. `frontier` has the
 * hashes of the complete subtrees of the tree of `from` leaves, the largest first; with the leaf hashes of the segment
 * they make `root`, the root of the tree of `to` leaves, and `consistency` is the RFC 6962 proof that the tree of
 * `checkpoint` (the signed note, byte for byte, of at least `to` leaves) begins with it. `logKeys` are verifier keys of
 * that checkpoint. `previous` is the SHA-256 of the records manifest of the segment that ends where this one begins,
 * null where `from` is 0: whoever has one manifest has a hash over all before it.
 *
 * `revision` counts from 1; each is a new file and a new manifest, and the highest counts. `state` is `kept`, `reduced`
 * (what expired has no line) or `expired` (no line at all: a file of no bytes, which is not stored). `ledgerSequence` is
 * the place in the erasure ledger up to which erasures have been applied. `records` is the SHA-256 of the records
 * manifest that the content, or the leaves, belong to.
 *
 * Leaves stand in the place of the records file once records have expired; `expired` counts those. The records manifest
 * stays: the leaf hashes still make its `root`, and the manifest after it still names it.
 *
 * test/unit/archive/segment.test.ts holds a worked example, byte for byte.
 */
import { createHash } from 'node:crypto'
import { z } from 'zod'
import { canonicalJson } from '../events/canonical-json.js'
import { organizationIdPattern } from '../organizations/contract.js'
import { base64Bytes } from '../transparency-log/encoding.js'
import { LogError } from '../transparency-log/errors.js'
import {
  maxNoteBytes,
  openNote,
  parseNote,
  signNote,
  type Signer,
  type Verifier,
} from '../transparency-log/note.js'
import { tileWidth } from '../transparency-log/tile.js'
import { maxSegmentTiles, tileOf } from './segment.js'
import type { SegmentRange } from './contract.js'
import { SegmentFault } from './segment-fault.js'
import {
  contentManifestPath,
  contentPath,
  leavesManifestPath,
  leavesPath,
  maxLeaf,
  recordsManifestPath,
  recordsPath,
  type SegmentObjectKind,
} from './segment-paths.js'
import { maxObjectBytes } from './stores/contract.js'

const natural = z.int().min(0)
const leaf = natural.max(maxLeaf)
const sha256Hex = z.string().regex(/^[0-9a-f]{64}$/)
const time = z.iso.datetime({ precision: 3 })
const hash = z
  .string()
  .length(44)
  .refine((text) => base64Bytes(text)?.length === 32)
/** The binary ones of a number below 2^53, and as many levels of a proof, twice. */
const maxHashes = 128

const memberSchema = z.strictObject({ first: leaf, offset: natural, bytes: z.int().min(1) })
const fileSchema = z.strictObject({
  path: z.string().max(512),
  bytes: natural.max(maxObjectBytes),
  sha256: sha256Hex,
  members: z.array(memberSchema).max(maxSegmentTiles),
})
const rangeShape = {
  organizationId: z.string().regex(organizationIdPattern),
  generation: z.int().min(1),
  from: leaf,
  to: leaf,
}

const recordsSchema = z.strictObject({
  format: z.literal('annals/segment-records/v1'),
  ...rangeShape,
  file: fileSchema,
  leaves: z.int().min(1),
  damaged: natural,
  sealedFrom: time,
  sealedTo: time,
  frontier: z.array(hash).max(maxHashes),
  root: hash,
  consistency: z.array(hash).max(maxHashes),
  checkpoint: z.string().max(maxNoteBytes),
  logKeys: z.array(z.string().max(1_024)).max(100),
  previous: sha256Hex.nullable(),
})
export type RecordsManifest = z.infer<typeof recordsSchema>

const contentSchema = z.strictObject({
  format: z.literal('annals/segment-content/v1'),
  ...rangeShape,
  file: fileSchema,
  events: natural,
  damaged: natural,
  revision: z.int().min(1),
  state: z.enum(['kept', 'reduced', 'expired']),
  ledgerSequence: natural,
  records: sha256Hex,
})
export type ContentManifest = z.infer<typeof contentSchema>

const leavesSchema = z.strictObject({
  format: z.literal('annals/segment-leaves/v1'),
  ...rangeShape,
  file: fileSchema,
  expired: z.int().min(1),
  revision: z.int().min(1),
  records: sha256Hex,
})
export type LeavesManifest = z.infer<typeof leavesSchema>

export type RevisedManifest = ContentManifest | LeavesManifest
export type SegmentManifest = RecordsManifest | RevisedManifest

/** A manifest that was opened, and the hash by which others name it. */
export interface Opened<Manifest> {
  readonly manifest: Manifest
  readonly path: string
  /** 64 hex digits, over the whole note. */
  readonly sha256: string
}

export const sha256Of = (bytes: Uint8Array | string): string =>
  createHash('sha256').update(bytes).digest('hex')

/** The signed note. */
export const formatManifest = (manifest: SegmentManifest, signers: readonly Signer[]): string =>
  signNote(`${canonicalJson(manifest)}\n`, signers)

/**
 * Opens the records manifest of a segment.
 * @param verifiers any one of which must have signed; undefined = look at no signature, for who compares the hash of the
 *   whole with one that is trusted
 * @throws SegmentFault `manifest_invalid` | `manifest_foreign`
 */
export function openRecordsManifest(
  note: Uint8Array,
  range: SegmentRange,
  verifiers: readonly Verifier[] | undefined,
): Opened<RecordsManifest> {
  const path = recordsManifestPath(range)
  const manifest = open(path, note, recordsSchema, verifiers)
  requireRange(path, manifest, range, recordsPath(range))
  const { leaves, damaged, file, from, to, previous } = manifest
  const tiles = tileOf(to - 1) - tileOf(from) + 1
  const firstHasNone = (from === 0) === (previous === null)
  if (leaves !== to - from || damaged > leaves || file.members.length !== tiles || !firstHasNone)
    throw new SegmentFault('manifest_invalid', path, 'its counts do not fit together')
  return { manifest, path, sha256: sha256Of(note) }
}

/** What is written in revisions, from 1: each a data file and its manifest, which names the records that it belongs to. */
export interface Revisions<Manifest extends RevisedManifest> {
  readonly manifestKind: SegmentObjectKind
  readonly manifestPath: (range: SegmentRange, revision: number) => string
  readonly dataPath: (range: SegmentRange, revision: number) => string
  /** Opens the manifest of a revision; else as `openRecordsManifest`. */
  readonly open: (
    note: Uint8Array,
    range: SegmentRange,
    revision: number,
    verifiers: readonly Verifier[] | undefined,
  ) => Opened<Manifest>
}

function revisions<Manifest extends RevisedManifest>(
  paths: Pick<Revisions<Manifest>, 'manifestKind' | 'manifestPath' | 'dataPath'>,
  schema: z.ZodType<Manifest>,
  fits: (manifest: Manifest) => boolean,
): Revisions<Manifest> {
  return {
    ...paths,
    open(note, range, revision, verifiers) {
      const path = paths.manifestPath(range, revision)
      const manifest = open(path, note, schema, verifiers)
      requireRange(path, manifest, range, paths.dataPath(range, revision))
      if (manifest.revision !== revision)
        throw new SegmentFault('manifest_foreign', path, 'it is the manifest of another revision')
      if (!fits(manifest)) throw new SegmentFault('manifest_invalid', path, 'its counts do not fit together')
      return { manifest, path, sha256: sha256Of(note) }
    },
  }
}

export const contentRevisions = revisions<ContentManifest>(
  { manifestKind: 'contentManifest', manifestPath: contentManifestPath, dataPath: contentPath },
  contentSchema,
  ({ file, state, events, damaged, from, to }) => {
    const isEmpty = file.members.length === 0 && events + damaged === 0
    const isWhole = events + damaged === to - from
    return (state === 'expired') === isEmpty && (state !== 'kept' || isWhole)
  },
)

export const leavesRevisions = revisions<LeavesManifest>(
  { manifestKind: 'leavesManifest', manifestPath: leavesManifestPath, dataPath: leavesPath },
  leavesSchema,
  ({ file, expired, from, to }) =>
    expired <= to - from && file.members.length === tileOf(to - 1) - tileOf(from) + 1,
)

function open<Manifest extends SegmentManifest>(
  path: string,
  note: Uint8Array,
  schema: z.ZodType<Manifest>,
  verifiers: readonly Verifier[] | undefined,
): Manifest {
  let text: string
  try {
    text = verifiers === undefined ? parseNote(note).text : openNote(note, verifiers).text
  } catch (error) {
    if (!(error instanceof LogError)) throw error
    throw new SegmentFault('manifest_invalid', path, error.detail)
  }
  const parsed = schema.safeParse(jsonOf(text))
  if (!parsed.success) throw new SegmentFault('manifest_invalid', path, 'it has not the form of one')
  // One spelling only: what was signed is what was read.
  if (`${canonicalJson(parsed.data)}\n` !== text)
    throw new SegmentFault('manifest_invalid', path, 'it is not written as it has to be')
  return parsed.data
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function requireRange(
  path: string,
  { organizationId, generation, from, to, file }: SegmentManifest,
  range: SegmentRange,
  filePath: string,
): void {
  const isRange =
    organizationId === range.organizationId &&
    generation === range.generation &&
    from === range.from &&
    to === range.to
  if (!isRange || file.path !== filePath)
    throw new SegmentFault('manifest_foreign', path, 'it is the manifest of another segment')
  let offset = 0
  let tile = tileOf(from) - 1
  for (const member of file.members) {
    const first = Math.max(from, tileOf(member.first) * tileWidth)
    if (
      member.offset !== offset ||
      tileOf(member.first) <= tile ||
      member.first < first ||
      member.first >= to
    )
      throw new SegmentFault('manifest_invalid', path, 'its members do not make a file')
    offset += member.bytes
    tile = tileOf(member.first)
  }
  if (offset !== file.bytes)
    throw new SegmentFault('manifest_invalid', path, 'its members do not make a file')
}
