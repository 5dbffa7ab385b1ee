/**
 * What has expired of a segment in an archive: the events that are gone from it, and the proofs beside it that they had to
 * go. What nothing proves is missing.
 */
import type { SegmentRange } from '../archive/contract.js'
import { SegmentFault } from '../archive/segment-fault.js'
import {
  openContentManifest,
  openRecordsManifest,
  type RecordsManifest,
} from '../archive/segment-manifest.js'
import { contentManifestPath, recordsManifestPath } from '../archive/segment-paths.js'
import { readObject } from '../archive/segment-reader.js'
import type { VerifiedLeaf } from '../archive/segment-verify.js'
import type { ArchiveStore } from '../archive/stores/contract.js'
import { maxNoteBytes, type Verifier } from '../transparency-log/note.js'
import type { Finding } from './contract.js'
import { provedExpiry, type LogVerifiers } from './expiry-proof-check.js'
import { neverExpires, policyOf, receivedAtOf, type PolicyStatement } from './expiry-rules.js'

export interface ExpiringSegment extends SegmentRange {
  /** The revisions of its content that have a manifest, ascending. */
  readonly revisions: readonly number[]
  /** Paths of proofs that some of it had to go. */
  readonly proofs: readonly string[]
}

/** What the proofs beside a segment account for together. */
export interface ProvedExpiries {
  readonly gone: number
  /** What was received later was not allowed to go; undefined where nothing was. */
  readonly untilMs: number | undefined
}

interface Options {
  readonly verifiers: readonly Verifier[]
  readonly logVerifiers?: LogVerifiers | undefined
}

type Store = Pick<ArchiveStore, 'get'>

async function provedExpiries(
  store: Store,
  segment: ExpiringSegment,
  manifest: Pick<RecordsManifest, 'logKeys'>,
  { logVerifiers }: Pick<Options, 'logVerifiers'>,
  known: readonly PolicyStatement[] = [],
): Promise<ProvedExpiries> {
  let gone = 0
  let untilMs: number | undefined
  for (const path of segment.proofs) {
    const bytes = await readObject(store, path, maxNoteBytes)
    const proved = bytes && provedExpiry(bytes, segment, manifest, logVerifiers, known)
    if (proved === undefined) continue
    gone += proved.gone
    untilMs = Math.max(untilMs ?? proved.untilMs, proved.untilMs)
  }
  return { gone, untilMs }
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
  const read = async (path: string) => (await readObject(store, path, maxNoteBytes)) ?? new Uint8Array()
  try {
    const note = await read(contentManifestPath(range, newest))
    const { events, damaged } = openContentManifest(note, range, newest, options.verifiers).manifest
    const gone = to - from - events - damaged
    if (gone === 0) return newest
    const records = await read(recordsManifestPath(range))
    const { manifest } = openRecordsManifest(records, range, options.verifiers)
    return (await provedExpiries(store, segment, manifest, options)).gone < gone ? before : newest
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
    readonly manifest: Pick<RecordsManifest, 'logKeys'>
    readonly gone: GoneEvents
  }[] = []

  /** An event that makes its leaf. */
  meet(event: unknown): void {
    const policy = policyOf(event)
    if (policy !== undefined && this.#policies.length < maxPolicies) this.#policies.push(policy)
  }

  /** A segment that holds, and what is gone from it. */
  add(segment: ExpiringSegment, { logKeys }: Pick<RecordsManifest, 'logKeys'>, gone: GoneEvents): void {
    if (gone.count > 0) this.#segments.push({ segment, manifest: { logKeys }, gone })
  }

  /** @returns events whose expiry is proved, and what is missing; nothing is kept */
  async settle(
    store: Store,
    options: Pick<Options, 'logVerifiers'>,
  ): Promise<{ readonly expired: number; readonly findings: readonly Finding[] }> {
    const policies = this.#policies.splice(0)
    const found: Finding[] = []
    let total = 0
    for (const { segment, manifest, gone } of this.#segments.splice(0)) {
      const proved = await provedExpiries(store, segment, manifest, options, policies)
      const { expired, findings } = gone.accountedBy(proved, segment)
      total += expired
      found.push(...findings)
    }
    return { expired: total, findings: found }
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
      this.#newestMs = Math.max(this.#newestMs, receivedAtOf(leaf.record) ?? leaf.sealedAt.getTime())
      if (neverExpires(leaf.record) && this.#neverExpiring.length < maxNamed) this.#neverExpiring.push(leaf)
    }
  }

  accountedBy(
    proved: ProvedExpiries,
    segment: ExpiringSegment,
  ): { readonly expired: number; readonly findings: readonly Finding[] } {
    const isAllowed = proved.untilMs !== undefined && this.#newestMs <= proved.untilMs
    const expired = isAllowed ? Math.min(proved.gone, this.#count) : 0
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
      const why =
        proved.untilMs === undefined || isAllowed
          ? 'nothing sealed accounts for them'
          : 'no policy let them go by then'
      const count = String(this.#count - expired)
      findings.push(say(`${count} events of the segment are gone, and ${why}`, this.#first))
    }
    return { expired, findings }
  }
}
