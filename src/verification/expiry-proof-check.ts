/**
 * The proof beside a segment that its content, or its records, had to go (archive/expiry-proof.ts): receipts of the sealed
 * event and of the policies that it rests on.
 */
import type { SegmentRange } from '../archive/contract.js'
import type { RecordsManifest } from '../archive/segment-manifest.js'
import { LogError } from '../transparency-log/errors.js'
import { jsonOf, membersOf } from './event-values.js'
import { allowedUntil, expiryOf, policyOf, type ExpiredKind, type PolicyStatement } from './expiry-rules.js'
import { provedEvent, standsBehind, type LogVerifiers } from './proved-event.js'
import { receiptOfJson } from './receipt-check.js'

/** Whose signatures count in proofs. */
export interface ProofTrust {
  /** Verifier keys of any logs of the deployment, that manifests name. */
  readonly logKeys: readonly string[]
  readonly logVerifiers?: LogVerifiers | undefined
}

export interface ProvedExpiry {
  readonly kind: ExpiredKind
  /** Events that went with it, and leaves that had none already; or records. */
  readonly gone: number
  /** What was received later was not allowed to go, in milliseconds. */
  readonly untilMs: number
}

/** A segment's records manifest, as far as a proof is held to it. */
export type ProvingManifest = Pick<RecordsManifest, 'sealedTo'> & {
  /** SHA-256 of the note. */
  readonly sha256: string
}

/** What a proof proves of a segment; undefined where it proves nothing. @param known policies that are in the archive */
export function provedExpiry(
  bytes: Uint8Array,
  range: SegmentRange,
  manifest: ProvingManifest,
  { logKeys, logVerifiers }: ProofTrust,
  known: readonly PolicyStatement[],
): ProvedExpiry | undefined {
  const proof = membersOf(jsonOf(Buffer.from(bytes).toString('utf8')))
  if (proof['kind'] !== 'annals/expiry-proof' || !Array.isArray(proof['policies'])) return undefined
  try {
    const prove = (json: unknown) => provedEvent(receiptOfJson(json), range, logKeys, logVerifiers)
    const expired = prove(proof['expired'])
    const said = expiryOf(expired?.event)
    const isIts = said?.generation === range.generation && said.from === range.from && said.to === range.to
    if (expired === undefined || !isIts || !standsBehind(expired, range)) return undefined
    const policies = [...known]
    for (const json of proof['policies'] as readonly unknown[]) {
      const policy = policyOf(prove(json)?.event)
      if (policy === undefined) return undefined
      policies.push(policy)
    }
    const untilMs = allowedUntil(said, policies, true)
    if (untilMs === undefined) return undefined
    const { kind } = said
    // When the records were sealed stands in their manifest, which the statement names, and the segment after it.
    const isOfRecords =
      said.recordsManifest === manifest.sha256 && said.sealedToMs === Date.parse(manifest.sealedTo)
    const isOldEnough = Date.parse(manifest.sealedTo) <= untilMs
    if (kind === 'records' && !(isOfRecords && isOldEnough)) return undefined
    return { kind, gone: said.gone, untilMs }
  } catch (error) {
    if (error instanceof LogError) return undefined
    throw error
  }
}
