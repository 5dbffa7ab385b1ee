/**
 * The proof beside a segment that its content, or its records, had to go (archive/expiry-proof.ts): receipts of the sealed event and of the
 * policies that it rests on, each checked against the log's checkpoint. It is nobody's word until then.
 */
import type { SegmentRange } from '../archive/contract.js'
import type { RecordsManifest } from '../archive/segment-manifest.js'
import { LogError } from '../transparency-log/errors.js'
import { nodeNoteCrypto, sha256 } from '../transparency-log/node-crypto.js'
import { ed25519Verifier, parseVerifierKey, verifierKey } from '../transparency-log/note-key.js'
import type { Verifier } from '../transparency-log/note.js'
import { allowedUntil, expiryOf, policyOf, type ExpiredKind, type PolicyStatement } from './expiry-rules.js'
import { nodeRules } from './node-rules.js'
import { checkReceipt, receiptOfJson, type Receipt } from './receipt-check.js'
import { nameOfOrigin, originOfNote } from './trust.js'

/** Keys of a log that were had from elsewhere; undefined = take those that the segment's manifest names. */
export type LogVerifiers = (organizationId: string, generation: number) => readonly Verifier[] | undefined

export interface ProvedExpiry {
  readonly kind: ExpiredKind
  /** Events that went with it, and leaves that had none already; or records. */
  readonly gone: number
  /** What was received later was not allowed to go, in milliseconds. */
  readonly untilMs: number
}

/** A segment's records manifest, as far as a proof is held to it. */
export type ProvingManifest = Pick<RecordsManifest, 'logKeys' | 'sealedTo'> & {
  /** SHA-256 of the note. */
  readonly sha256: string
}

/** What a proof proves of a segment; undefined where it proves nothing. @param known policies that are in the archive */
export function provedExpiry(
  bytes: Uint8Array,
  range: SegmentRange,
  manifest: ProvingManifest,
  logVerifiers: LogVerifiers | undefined,
  known: readonly PolicyStatement[],
): ProvedExpiry | undefined {
  const proof = membersOf(jsonOf(bytes))
  if (proof['kind'] !== 'annals/expiry-proof' || !Array.isArray(proof['policies'])) return undefined
  try {
    const prove = (json: unknown) => provedEvent(receiptOfJson(json), range, manifest, logVerifiers)
    const expired = prove(proof['expired'])
    const said = expiryOf(expired?.event)
    const isIts = said?.generation === range.generation && said.from === range.from && said.to === range.to
    if (expired === undefined || !isIts) return undefined
    // Behind what it takes, where both are in one log.
    if (expired.generation === range.generation && expired.index < range.to) return undefined
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

/** The event of a receipt that holds in a log of the organization, of this generation or a later one. */
export function provedEvent(
  receipt: Receipt,
  { organizationId, generation }: SegmentRange,
  { logKeys }: Pick<RecordsManifest, 'logKeys'>,
  logVerifiers: LogVerifiers | undefined,
) {
  const origin = originOfNote(receipt.checkpoint) ?? ''
  const named = nameOfOrigin(origin)
  const isLater = named?.organization === organizationId && named.generation >= generation
  if (!isLater || receipt.event === undefined) return undefined
  const verifiers =
    logVerifiers?.(organizationId, named.generation) ?? logKeys.map((key) => verifierUnder(origin, key))
  if (verifiers[0]?.name !== origin) return undefined
  const log = { origin, logKeys: verifiers }
  const { findings, index } = checkReceipt(receipt, log, nodeRules.hasher, nodeRules.checkEvent)
  return findings.length === 0 ? { event: receipt.event, index, generation: named.generation } : undefined
}

/** One key of a deployment signs the checkpoints of all its logs, under the origin of each. @throws LogError */
export function verifierUnder(origin: string, key: string): Verifier {
  const { name, type, publicKey } = parseVerifierKey(key, sha256)
  const [own, wanted] = [nameOfOrigin(name), nameOfOrigin(origin)]
  const prefix = (text: string, of: typeof own) =>
    of === undefined ? text : text.slice(0, -`${of.organization}/${String(of.generation)}`.length)
  const isOfDeployment = type === 'ed25519' && prefix(name, own) === prefix(origin, wanted)
  if (!isOfDeployment) throw new LogError('unknown_signer', 'the key is that of another deployment')
  return ed25519Verifier(verifierKey(origin, type, publicKey, sha256), nodeNoteCrypto)
}

function jsonOf(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString('utf8'))
  } catch {
    return undefined
  }
}

const membersOf = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
