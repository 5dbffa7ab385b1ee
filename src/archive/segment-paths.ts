/** Where the objects of a segment lie (contract.ts), and back from a path to what it names. Pure. */
import { organizationIdPattern } from '../organizations/contract.js'
import type { SegmentRange } from './contract.js'

const digits = 12
/** Leaf numbers have twelve digits. */
export const maxLeaf = 10 ** digits - 1
const padded = (leaf: number): string => String(leaf).padStart(digits, '0')

/** `<org>/<generation>/<from>`: names a segment in MongoDB. */
export const segmentId = ({ organizationId, generation, from }: Omit<SegmentRange, 'to'>): string =>
  `${organizationId}/${String(generation)}/${padded(from)}`

const base = (range: SegmentRange): string => `${segmentId(range)}-${padded(range.to)}`

export const recordsPath = (range: SegmentRange): string => `${base(range)}.records.ndjson.gz`
export const recordsManifestPath = (range: SegmentRange): string => `${base(range)}.records.manifest`
export const contentPath = (range: SegmentRange, revision: number): string =>
  `${base(range)}.content.${String(revision)}.ndjson.gz`
export const contentManifestPath = (range: SegmentRange, revision: number): string =>
  `${base(range)}.content.${String(revision)}.manifest`
/** The proof that the content of before this revision had to go: it stays, whatever becomes of the content. */
export const expiryProofPath = (range: SegmentRange, revision: number): string =>
  `${base(range)}.expiry.${String(revision)}.proof`
export const leavesPath = (range: SegmentRange, revision: number): string =>
  `${base(range)}.leaves.${String(revision)}.ndjson.gz`
export const leavesManifestPath = (range: SegmentRange, revision: number): string =>
  `${base(range)}.leaves.${String(revision)}.manifest`
/** The same for records: why those that this revision has not had to go. */
export const leavesProofPath = (range: SegmentRange, revision: number): string =>
  `${base(range)}.leaves.${String(revision)}.proof`
/** The beginning of the paths of everything that a segment has. */
export const segmentPrefix = (range: SegmentRange): string => `${base(range)}.`

/** The verifier keys of an archive's manifests, one a line. No organization's id has a dot. */
export const archiveKeysPath = 'archive.keys'

export type SegmentObjectKind =
  | 'records'
  | 'recordsManifest'
  | 'leaves'
  | 'leavesManifest'
  | 'leavesProof'
  | 'content'
  | 'contentManifest'
  | 'expiryProof'

export interface SegmentObject extends SegmentRange {
  readonly kind: SegmentObjectKind
  /** Of content or leaves, from 1; 0 for records, and for proofs of expiry, which are no revision of anything. */
  readonly revision: number
}

const shape =
  /^([^/]+)\/([1-9]\d{0,8})\/(\d{12})-(\d{12})\.(records|leaves|content|expiry)(?:\.([1-9]\d{0,8}))?\.(ndjson\.gz|manifest|proof)$/

/** undefined for a path that no segment has. */
export function parseSegmentPath(path: string): SegmentObject | undefined {
  const [, organizationId = '', generation, from, to, part, revision, end] = shape.exec(path) ?? []
  if (!organizationIdPattern.test(organizationId)) return undefined
  if ((part !== 'records') !== (revision !== undefined) || Number(from) >= Number(to)) return undefined
  const kind = kinds[`${part ?? ''}.${end ?? ''}`]
  if (kind === undefined) return undefined
  return {
    organizationId,
    generation: Number(generation),
    from: Number(from),
    to: Number(to),
    kind,
    revision: kind === 'expiryProof' || kind === 'leavesProof' ? 0 : Number(revision ?? 0),
  }
}

const kinds: Readonly<Record<string, SegmentObjectKind | undefined>> = {
  'records.ndjson.gz': 'records',
  'records.manifest': 'recordsManifest',
  'leaves.ndjson.gz': 'leaves',
  'leaves.manifest': 'leavesManifest',
  'leaves.proof': 'leavesProof',
  'content.ndjson.gz': 'content',
  'content.manifest': 'contentManifest',
  'expiry.proof': 'expiryProof',
}
