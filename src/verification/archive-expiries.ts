/**
 * What has expired of a segment in an archive: the events and the records that are gone from it, and the proofs beside it
 * that they had to go. What nothing proves is missing.
 */
import type { SegmentRange } from '../archive/contract.js'
import { SegmentFault } from '../archive/segment-fault.js'
import { contentRevisions, leavesRevisions, openRecordsManifest } from '../archive/segment-manifest.js'
import {
  contentManifestPath,
  leavesManifestPath,
  recordsManifestPath,
  recordsPath,
} from '../archive/segment-paths.js'
import { readObject } from '../archive/segment-reader.js'
import type { VerifiedLeaf } from '../archive/segment-leaf-checks.js'
import type { ArchiveStore } from '../archive/stores/contract.js'
import { maxNoteBytes, type Verifier } from '../transparency-log/note.js'
import type { Finding } from './contract.js'
import { provedExpiry, type ProofTrust, type ProvingManifest } from './expiry-proof-check.js'
import {
  neverExpires,
  policyOf,
  receivedAtOf,
  type ExpiredKind,
  type PolicyStatement,
} from './expiry-rules.js'

export interface ExpiringSegment extends SegmentRange {
  /** The revisions of its content that have a manifest, ascending. */
  readonly revisions: readonly number[]
  /** The records as they were archived are (still) there. */
  readonly hasRecords: boolean
  /** The revisions of leaves in the place of its records that have a manifest, ascending. */
  readonly leaves: readonly number[]
  /** Paths of proofs that some of it had to go. */
  readonly proofs: readonly string[]
}

/** What the proofs beside a segment account for together. */
export interface ProvedExpiries {
  readonly gone: number
  /** What was received later was not allowed to go; undefined where nothing was. */
  readonly untilMs: number | undefined
}

interface Options extends ProofTrust {
  readonly verifiers: readonly Verifier[]
}

type Store = Pick<ArchiveStore, 'get'>

type Proved = Readonly<Record<ExpiredKind, ProvedExpiries>>

async function provedExpiries(
  store: Store,
  segment: ExpiringSegment,
  manifest: ProvingManifest,
  trust: ProofTrust,
  known: readonly PolicyStatement[] = [],
): Promise<Proved> {
  const proved: Record<ExpiredKind, ProvedExpiries> = {
    content: { gone: 0, untilMs: undefined },
    records: { gone: 0, untilMs: undefined },
  }
  for (const path of segment.proofs) {
    const bytes = await readObject(store, path, maxNoteBytes)
    const one = bytes && provedExpiry(bytes, segment, manifest, trust, known)
    if (one === undefined) continue
    const { gone, untilMs } = proved[one.kind]
    proved[one.kind] = { gone: gone + one.gone, untilMs: Math.max(untilMs ?? one.untilMs, one.untilMs) }
  }
  return proved
}

const readNote = async (store: Store, path: string) =>
  (await readObject(store, path, maxNoteBytes)) ?? new Uint8Array()

async function recordsManifestOf(
  store: Store,
  range: SegmentRange,
  { verifiers }: Options,
): Promise<ProvingManifest> {
  const { manifest, sha256 } = openRecordsManifest(
    await readNote(store, recordsManifestPath(range)),
    range,
    verifiers,
  )
  return { sealedTo: manifest.sealedTo, sha256 }
}

/**
 * The newest revision of the leaves in the place of the records; where more is gone from it than is proved, and an older one,
 * or the records, are still there, an expiry is under way, and those count. undefined = the records as they were archived.
 */
export async function leavesThatCount(
  store: Store,
  segment: ExpiringSegment,
  options: Options,
): Promise<number | undefined> {
  const { organizationId, generation, from, to, leaves, hasRecords } = segment
  const range = { organizationId, generation, from, to }
  const newest = leaves.at(-1)
  if (newest === undefined) return undefined
  try {
    const { gone } = (
      await provedExpiries(store, segment, await recordsManifestOf(store, range, options), options)
    ).records
    for (const revision of leaves.toReversed()) {
      const note = await readNote(store, leavesManifestPath(range, revision))
      if (leavesRevisions.open(note, range, revision, options.verifiers).manifest.expired <= gone)
        return revision
    }
    return hasRecords ? undefined : newest
  } catch (error) {
    if (error instanceof SegmentFault) return newest
    throw error
  }
}

/**
 * The newest revision of the content; where more is gone from it than is proved, and an older one is still there, an expiry
 * is under way, and the older one counts. 0 = there is none. What does not hold is said by who verifies.
 */
export async function revisionThatCounts(
  store: Store,
  segment: ExpiringSegment,
  options: Options,
): Promise<number> {
  const { organizationId, generation, from, to, revisions } = segment
  const range = { organizationId, generation, from, to }
  const newest = revisions.at(-1) ?? 0
  const before = revisions.at(-2)
  if (before === undefined) return newest
  try {
    const note = await readNote(store, contentManifestPath(range, newest))
    const { events, damaged } = contentRevisions.open(note, range, newest, options.verifiers).manifest
    const gone = to - from - events - damaged
    if (gone === 0) return newest
    const manifest = await recordsManifestOf(store, range, options)
    return (await provedExpiries(store, segment, manifest, options)).content.gone < gone ? before : newest
  } catch (error) {
    if (error instanceof SegmentFault) return newest
    throw error
  }
}

/**
 * The expiries of one organization, until all of its archive was read: a policy stands behind what it is about, so that one
 * that forbids an expiry may be met long after the segment.
 */
export class ArchiveExpiries {
  readonly #policies: PolicyStatement[] = []
  readonly #segments: {
    readonly segment: ExpiringSegment
    readonly manifest: ProvingManifest
    readonly gone: GoneEvents
    readonly records: GoneRecords
  }[] = []

  /** An event that makes its leaf. */
  meet(event: unknown): void {
    const policy = policyOf(event)
    if (policy !== undefined && this.#policies.length < maxPolicies) this.#policies.push(policy)
  }

  /** A segment that holds, and what is gone from it. */
  add(segment: ExpiringSegment, manifest: ProvingManifest, gone: GoneEvents, records: GoneRecords): void {
    if (gone.count > 0 || records.count > 0) this.#segments.push({ segment, manifest, gone, records })
  }

  /** @returns events, and records, whose expiry is proved, and what is missing; nothing is kept */
  async settle(
    store: Store,
    trust: ProofTrust,
  ): Promise<{
    readonly expired: number
    readonly expiredRecords: number
    readonly findings: readonly Finding[]
  }> {
    const policies = this.#policies.splice(0)
    const found: Finding[] = []
    let total = 0
    let totalRecords = 0
    for (const { segment, manifest, gone, records } of this.#segments.splice(0)) {
      const proved = await provedExpiries(store, segment, manifest, trust, policies)
      const ofContent = gone.accountedBy(proved.content, segment)
      const ofRecords = records.accountedBy(proved.records, segment)
      total += ofContent.expired
      totalRecords += ofRecords.expired
      found.push(...ofContent.findings, ...ofRecords.findings)
    }
    return { expired: total, expiredRecords: totalRecords, findings: found }
  }
}

const maxPolicies = 100_000

/** Events of one segment that are named one by one. */
const maxNamed = 1_000

/** The events of a segment that are gone: how many, which is the first, and which should have stayed. */
export class GoneEvents {
  #count = 0
  #newestMs = 0
  #first: VerifiedLeaf | undefined
  readonly #neverExpiring: VerifiedLeaf[] = []

  get count(): number {
    return this.#count
  }

  look(leaves: readonly VerifiedLeaf[]): void {
    for (const leaf of leaves) {
      if (leaf.content !== 'expired') continue
      this.#first ??= leaf
      this.#count += 1
      const { record = '' } = leaf
      this.#newestMs = Math.max(this.#newestMs, receivedAtOf(record) ?? leaf.sealedAt.getTime())
      if (neverExpires(record) && this.#neverExpiring.length < maxNamed) this.#neverExpiring.push(leaf)
    }
  }

  accountedBy(
    proved: ProvedExpiries,
    segment: ExpiringSegment,
  ): { readonly expired: number; readonly findings: readonly Finding[] } {
    const { expired, why } = judged(proved, this.#count, this.#newestMs)
    const say = (detail: string, { index, eventId }: VerifiedLeaf): Finding => ({
      code: 'event_missing',
      at: contentManifestPath(segment, segment.revisions.at(-1) ?? 0),
      detail,
      leaf: { generation: segment.generation, index, eventId },
    })
    const findings = this.#neverExpiring.map((leaf) =>
      say('the event is gone, and is one that never expires', leaf),
    )
    if (this.#first !== undefined && expired < this.#count) {
      const count = String(this.#count - expired)
      findings.push(say(`${count} events of the segment are gone, and ${why}`, this.#first))
    }
    return { expired, findings }
  }
}

/**
 * The records of a segment that are gone. When they were sealed is what the records manifest says, which the statement names;
 * and no earlier than what stands before them in the log.
 */
export class GoneRecords {
  #count = 0
  #first: VerifiedLeaf | undefined
  #notBeforeMs = 0

  /** @param seen the last record before this segment in the log, which goes on with those that are looked at */
  constructor(private readonly seen: { record: string | undefined }) {}

  get count(): number {
    return this.#count
  }

  look(leaves: readonly VerifiedLeaf[]): void {
    for (const leaf of leaves) {
      if (leaf.record !== undefined) {
        if (leaf.record !== '') this.seen.record = leaf.record
        continue
      }
      this.#first ??= leaf
      this.#count += 1
      const before = this.seen.record === undefined ? undefined : receivedAtOf(this.seen.record)
      this.#notBeforeMs = Math.max(this.#notBeforeMs, before ?? 0)
    }
  }

  accountedBy(
    proved: ProvedExpiries,
    segment: ExpiringSegment,
  ): { readonly expired: number; readonly findings: readonly Finding[] } {
    const { expired, why } = judged(proved, this.#count, this.#notBeforeMs)
    if (this.#first === undefined || expired === this.#count) return { expired, findings: [] }
    const { generation, leaves } = segment
    const { index, eventId } = this.#first
    const newest = leaves.at(-1)
    const finding = {
      code: 'record_missing',
      at: newest === undefined ? recordsPath(segment) : leavesManifestPath(segment, newest),
      detail: `${String(this.#count - expired)} records of the segment are gone, and ${why}`,
      leaf: { generation, index, eventId },
    } as const
    return { expired, findings: [finding] }
  }
}

/** How many of those that are gone had to go, and why the others did not. @param newestMs when the last of them came */
function judged(
  { gone, untilMs }: ProvedExpiries,
  count: number,
  newestMs: number,
): { readonly expired: number; readonly why: string } {
  const isTooYoung = untilMs !== undefined && newestMs > untilMs
  return {
    expired: untilMs === undefined || isTooYoung ? 0 : Math.min(gone, count),
    why: isTooYoung ? 'no policy let them go by then' : 'nothing sealed accounts for them',
  }
}
