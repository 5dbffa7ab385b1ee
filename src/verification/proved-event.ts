/**
 * A sealed event by its receipt, wherever the receipt comes from: a ledger, an archive, beside another receipt. It is nobody's
 * word until it was checked here against the log's checkpoint.
 */
import { nodeNoteCrypto, sha256 } from '../transparency-log/node-crypto.js'
import { ed25519Verifier, parseVerifierKey, verifierKey } from '../transparency-log/note-key.js'
import type { Verifier } from '../transparency-log/note.js'
import { nodeRules } from './node-rules.js'
import { checkReceipt, type Receipt } from './receipt-check.js'
import { nameOfOrigin, originOfNote } from './trust.js'

/** Keys of a log that were had from elsewhere; undefined = take those that manifests name. */
export type LogVerifiers = (organizationId: string, generation: number) => readonly Verifier[] | undefined

/** A generation of an organization's log. */
export interface LogGeneration {
  readonly organizationId: string
  readonly generation: number
}

export interface ProvedEvent {
  /** In its verifiable form; it makes its leaf. */
  readonly event: unknown
  readonly generation: number
  readonly index: number
}

/**
 * The event of a receipt that holds in a log of the organization, of this generation or a later one; else undefined.
 * @param logKeys verifier keys of any logs of the deployment @throws LogError where one is none
 */
export function provedEvent(
  receipt: Receipt,
  { organizationId, generation }: LogGeneration,
  logKeys: readonly string[],
  logVerifiers?: LogVerifiers,
): ProvedEvent | undefined {
  const origin = originOfNote(receipt.checkpoint) ?? ''
  const named = nameOfOrigin(origin)
  const isLater = named?.organization === organizationId && named.generation >= generation
  if (!isLater || receipt.event === undefined) return undefined
  const verifiers =
    logVerifiers?.(organizationId, named.generation) ??
    logKeys.flatMap((key) => verifierUnder(origin, key) ?? [])
  if (verifiers[0]?.name !== origin) return undefined
  const log = { origin, logKeys: verifiers }
  const { findings, index } = checkReceipt(receipt, log, nodeRules.hasher, nodeRules.checkEvent)
  return findings.length === 0 ? { event: receipt.event, index, generation: named.generation } : undefined
}

/** Does it stand behind all leaves before `to` of a generation? Only then it can say of them why something is gone. */
export const standsBehind = (
  { generation, index }: Pick<ProvedEvent, 'generation' | 'index'>,
  range: { readonly generation: number; readonly to: number },
): boolean => generation > range.generation || (generation === range.generation && index >= range.to)

/**
 * One key of a deployment signs the checkpoints of all its logs, under the origin of each.
 * @returns undefined for the key of another deployment @throws LogError where it is no key
 */
export function verifierUnder(origin: string, key: string): Verifier | undefined {
  const { name, type, publicKey } = parseVerifierKey(key, sha256)
  const deployment = nameOfOrigin(name)?.deployment
  const isOfDeployment = deployment !== undefined && deployment === nameOfOrigin(origin)?.deployment
  if (type !== 'ed25519' || !isOfDeployment) return undefined
  return ed25519Verifier(verifierKey(origin, type, publicKey, sha256), nodeNoteCrypto)
}
