/**
 * Does the anchor log have this history, and have witnesses seen it there? Offline: from an anchor proof, the anchor
 * log's keys, and those of the witnesses one trusts. What is not anchored is said, and is no finding: an event is a
 * minute old before it can be.
 */
import type { AnchorProof } from '../transparency-log/anchor/anchor-proof.js'
import { checkAnchorProof } from '../transparency-log/anchor/anchor-proof.js'
import type { AnchoredRecord } from '../transparency-log/anchor/anchored-record.js'
import type { Checkpoint, TrustedLog } from '../transparency-log/checkpoint.js'
import { base64 } from '../transparency-log/encoding.js'
import { LogError } from '../transparency-log/errors.js'
import type { Hash, Hasher } from '../transparency-log/hash.js'
import { checkRecord, checkTree, proveTree } from '../transparency-log/proof.js'
import { TileHashReader, type TileSource } from '../transparency-log/tile-reader.js'
import type { AnchorReport, Finding } from './contract.js'

/** Whom to believe about the anchor log. */
export interface AnchorTrust {
  /** The anchor log, with the witnesses whose cosignatures count. */
  readonly log: TrustedLog
  /** The id that the organization's log has there, in standard base64, where it is known: a second id is a second history. */
  readonly logId?: string | undefined
}

export interface AnchorCheck {
  readonly report: AnchorReport
  readonly findings: readonly Finding[]
}

/** What is said where there is no anchor proof. */
export const notAnchored: AnchorReport = { state: 'not_anchored', cosignedBy: [] }

/** Checks that a record is in a tree that is anchored. */
export function checkAnchoredRecord(
  { anchor, recordProof }: AnchoredRecord,
  { index, leaf }: { readonly index: number; readonly leaf: Hash },
  trust: AnchorTrust | undefined,
  hasher: Hasher,
): AnchorCheck {
  const check = checkAnchor(anchor, trust, hasher)
  if (check.report.state !== 'anchored') return check
  const { size, root } = anchor.log
  try {
    checkRecord(recordProof, { size, root, index, leaf }, hasher)
  } catch (error) {
    if (!(error instanceof LogError)) throw error
    return differs('the tree that is anchored has not this record there')
  }
  return check
}

/**
 * Checks that a log's checkpoint goes on from the tree that is anchored.
 * @param tiles of the log; they are not trusted
 */
export async function checkAnchoredLog(
  anchor: AnchorProof,
  checkpoint: Checkpoint,
  tiles: TileSource,
  trust: AnchorTrust | undefined,
  hasher: Hasher,
): Promise<AnchorCheck> {
  const check = checkAnchor(anchor, trust, hasher)
  if (check.report.state !== 'anchored') return check
  const { size: oldSize, root: oldRoot } = anchor.log
  const { size: newSize, root: newRoot } = checkpoint
  if (oldSize > newSize)
    return differs(`the log has ${String(newSize)} leaves, and ${String(oldSize)} are anchored`)
  try {
    const reader = new TileHashReader(newSize, newRoot, tiles, hasher)
    const proof = oldSize === newSize ? [] : await proveTree(newSize, oldSize, reader, hasher)
    checkTree(proof, { oldSize, oldRoot, newSize, newRoot }, hasher)
  } catch (error) {
    if (!(error instanceof LogError)) throw error
    // Where tiles do not fit, reading them has found more: without them nobody can tell whether the trees do.
    return differs(
      error.code === 'tile_mismatch'
        ? 'the tiles of the log do not prove that it begins with the tree that is anchored'
        : 'the log does not begin with the tree that is anchored',
    )
  }
  return check
}

/** Checks a proof by itself, whatever log it is said to be of: is it the anchor log's, and who has cosigned it? */
export function checkAnchor(
  anchor: AnchorProof,
  trust: AnchorTrust | undefined,
  hasher: Hasher,
): AnchorCheck {
  const { size, logId } = anchor.log
  const said = { logId: base64(logId), size }
  if (trust === undefined) return { report: { state: 'unverified', ...said, cosignedBy: [] }, findings: [] }
  try {
    const { at, checkpoint } = checkAnchorProof(anchor, trust.log, hasher)
    if (trust.logId !== undefined && trust.logId !== said.logId)
      return failed('anchor_foreign', 'another log is anchored: its id is not the one that was given')
    const cosignedBy = [...new Set(checkpoint.cosignatures.map(({ name }) => name))]
    return { report: { state: 'anchored', ...said, at: at.toISOString(), cosignedBy }, findings: [] }
  } catch (error) {
    if (!(error instanceof LogError)) throw error
    const foreign = error.code === 'wrong_origin' || error.code === 'unknown_signer'
    return failed(foreign ? 'anchor_foreign' : 'anchor_invalid', error.detail)
  }
}

const failed = (
  code: 'anchor_foreign' | 'anchor_invalid' | 'anchor_differs',
  detail: string,
): AnchorCheck => ({
  report: { state: 'invalid', cosignedBy: [] },
  findings: [{ code, at: 'anchor', detail }],
})

const differs = (detail: string): AnchorCheck => failed('anchor_differs', detail)
