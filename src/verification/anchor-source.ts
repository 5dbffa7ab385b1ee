/** Where a verification gets an anchor proof from, and whom it believes about it. */
import { setTimeout } from 'node:timers/promises'
import { anchorProofFromJson, type AnchorProof } from '../transparency-log/anchor/anchor-proof.js'
import type { Checkpoint } from '../transparency-log/checkpoint.js'
import { LogError } from '../transparency-log/errors.js'
import { nodeNoteCrypto } from '../transparency-log/node-crypto.js'
import {
  checkAnchor,
  checkAnchoredLog,
  notAnchored,
  type AnchorCheck,
  type AnchorTrust,
} from './anchor-check.js'
import type { Finding } from './contract.js'
import type { LogFolder } from './folder-source.js'
import { tilesOf, type LogSource } from './log-source.js'
import { nodeRules } from './node-rules.js'
import type { LogServer } from './server-source.js'
import { trustedAnchor } from './trust.js'

/** Whom to believe about the anchor log. */
export interface AnchorOptions {
  /** Its verifier keys, had from elsewhere; none = those that come with the log are taken. */
  readonly keys: readonly string[]
  /** Of witnesses. */
  readonly witnessKeys: readonly string[]
  /** The id that the organization's log has there, in standard base64. */
  readonly logId?: string | undefined
  /** So many cosignatures are waited for, for half a minute: right after an entry they are on their way. */
  readonly witnesses?: number | undefined
  /** Between two looks; absent = a timer. */
  readonly wait?: ((ms: number) => Promise<unknown>) | undefined
}

/** Witnesses are asked side by side, within ten seconds each, at the next turn of twenty seconds at the latest. */
const maxLooks = 16
const lookAgainMs = 2_000

export const noAnchorKeys: AnchorOptions = { keys: [], witnessKeys: [] }

/** undefined without a key of the anchor log. @throws TrustError */
export function anchorTrust(
  { witnessKeys, logId }: AnchorOptions,
  keys: readonly string[],
): AnchorTrust | undefined {
  return keys.length === 0 ? undefined : { log: trustedAnchor(keys, witnessKeys, nodeNoteCrypto), logId }
}

/** What came with a log of the anchor log, and whom to believe about it. */
export interface Anchored {
  readonly proof: AnchorProof | undefined
  readonly trust: AnchorTrust | undefined
  readonly findings: readonly Finding[]
}

/** @throws AnnalsClientError | TrustError */
export async function anchorOfServer(
  server: LogServer,
  generation: number | undefined,
  options: AnchorOptions = noAnchorKeys,
): Promise<Anchored> {
  const { witnesses = 0, wait = setTimeout } = options
  for (let looks = 1; ; looks += 1) {
    const anchored = await lookAt(server, generation, options)
    if (looks >= maxLooks || !isAwaited(anchored, witnesses)) return anchored
    await wait(lookAgainMs)
  }
}

/** Is it anchored, by witnesses that are known, and are too few of them there yet? */
function isAwaited({ proof, trust }: Anchored, witnesses: number): boolean {
  if (proof === undefined || witnesses > (trust?.log.witnessKeys?.length ?? 0)) return false
  const { report } = checkAnchor(proof, trust, nodeRules.hasher)
  return report.state === 'anchored' && report.cosignedBy.length < witnesses
}

async function lookAt(
  server: LogServer,
  generation: number | undefined,
  options: AnchorOptions,
): Promise<Anchored> {
  const { anchor, damaged } = await server.anchor(generation)
  if (damaged)
    return unreadable(anchorTrust(options, options.keys), 'the server says that its anchor log is damaged')
  const keys = options.keys.length > 0 || anchor === undefined ? options.keys : await server.anchorKeys()
  return anchoredBy(anchor, anchorTrust(options, keys))
}

/** @throws TrustError */
export function anchorOfFolder(
  folder: Pick<LogFolder, 'anchor' | 'anchorKeys'>,
  options: AnchorOptions = noAnchorKeys,
): Anchored {
  const trust = anchorTrust(options, options.keys.length > 0 ? options.keys : folder.anchorKeys)
  try {
    return anchoredBy(folder.anchor === undefined ? undefined : JSON.parse(folder.anchor), trust)
  } catch (error) {
    if (error instanceof SyntaxError) return unreadable(trust, 'the anchor proof is no JSON')
    throw error
  }
}

function anchoredBy(json: unknown, trust: AnchorTrust | undefined): Anchored {
  try {
    return { proof: json === undefined ? undefined : anchorProofFromJson(json), trust, findings: [] }
  } catch (error) {
    if (error instanceof LogError) return unreadable(trust, error.detail)
    throw error
  }
}

const unreadable = (trust: AnchorTrust | undefined, detail: string): Anchored => ({
  proof: undefined,
  trust,
  findings: [{ code: 'anchor_invalid', at: 'anchor', detail }],
})

/** Checks that a log goes on from the tree that is anchored. */
export async function checkAnchored(
  { proof, trust, findings }: Anchored,
  checkpoint: Checkpoint,
  source: LogSource,
): Promise<AnchorCheck> {
  if (proof === undefined)
    return { report: findings.length > 0 ? { state: 'invalid', cosignedBy: [] } : notAnchored, findings }
  return checkAnchoredLog(proof, checkpoint, tilesOf(source), trust, nodeRules.hasher)
}
