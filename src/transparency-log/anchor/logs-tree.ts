/** The tree of logs under an anchor entry (its shape: entry.ts): made, proved from, and checked. Pure. */
import { LogError } from '../errors.js'
import { equalHashes, type Hash, type Hasher, type Sha256 } from '../hash.js'
import { filling, logIdBytes, logLeaf, saltOf, type AnchoredLog } from './entry.js'

/** Leaves stand no higher, so that the depth of one's own says nothing while the logs are few. */
const minDepth = 16
const maxDepth = 8 * logIdBytes
/** A subtree below this is made in one go: one of 256. */
const topDepth = 8
/** More logs than this no deployment has. */
export const maxLogs = 1_000_000

/** Where a log stands under an entry: the way is the log's id. */
export interface LogsTreeProof {
  readonly salt: Uint8Array
  /** From the leaf's sibling up; as many as the leaf is deep. */
  readonly hashes: readonly Hash[]
}

export interface LogsTree {
  readonly root: Hash
  /** @throws LogError `wrong_size` where the tree has no such log */
  prove(log: AnchoredLog): LogsTreeProof
}

interface Place {
  readonly from: number
  readonly to: number
  readonly depth: number
}

interface Node {
  readonly hash: Hash
  /** Absent for a leaf and a filling. */
  readonly children?: readonly [Node, Node]
}

/**
 * @param logs in any order
 * @param secret 32 random bytes of this entry alone
 * @param pause awaited now and then (some milliseconds apart for ten thousand logs), to let others work
 * @throws LogError `wrong_size` for too many logs, or two with one id
 */
export async function buildLogsTree(
  logs: readonly AnchoredLog[],
  secret: Uint8Array,
  hasher: Hasher,
  sha256: Sha256,
  pause: () => Promise<void> = () => Promise.resolve(),
): Promise<LogsTree> {
  if (logs.length > maxLogs) throw new LogError('wrong_size', `an entry commits to ${maxLogs} logs at most`)
  const sorted = logs.toSorted((a, b) => compareIds(a.logId, b.logId))
  /** The way to the place under work; 0 beyond it. */
  const path = new Uint8Array(logIdBytes)

  /** The node over the logs `from` to `to` (exclusive), whose ids have their first `depth` bits in common. */
  function build({ from, to, depth }: Place): Node {
    const first = sorted[from]
    if (first === undefined || from === to) return { hash: filling(secret, depth, path, sha256) }
    if (from + 1 === to && depth >= minDepth) {
      return { hash: logLeaf(first, saltOf(secret, first.logId, sha256), hasher) }
    }
    if (depth === maxDepth) throw new LogError('wrong_size', 'two logs have one id')
    const middle = firstRight(from, to, depth)
    const left = build({ from, to: middle, depth: depth + 1 })
    turnRight(depth)
    const right = build({ from: middle, to, depth: depth + 1 })
    turnBack(depth)
    return { hash: hasher.node(left.hash, right.hash), children: [left, right] }
  }

  /** The same for the upper part of the tree, with a pause before each subtree below it. */
  async function buildTop({ from, to, depth }: Place): Promise<Node> {
    if (depth === topDepth) {
      await pause()
      return build({ from, to, depth })
    }
    if (from === to) return build({ from, to, depth })
    const middle = firstRight(from, to, depth)
    const left = await buildTop({ from, to: middle, depth: depth + 1 })
    turnRight(depth)
    const right = await buildTop({ from: middle, to, depth: depth + 1 })
    turnBack(depth)
    return { hash: hasher.node(left.hash, right.hash), children: [left, right] }
  }

  function firstRight(from: number, to: number, depth: number): number {
    let middle = from
    while (middle < to && bitAt(sorted[middle]?.logId ?? path, depth) === 0) middle++
    return middle
  }
  function turnRight(depth: number): void {
    path[depth >> 3] = (path[depth >> 3] ?? 0) | (0x80 >> (depth & 7))
  }
  function turnBack(depth: number): void {
    path[depth >> 3] = (path[depth >> 3] ?? 0) & ~(0x80 >> (depth & 7))
  }

  const top = await buildTop({ from: 0, to: sorted.length, depth: 0 })
  return {
    root: top.hash,
    prove(log) {
      const salt = saltOf(secret, log.logId, sha256)
      const hashes: Hash[] = []
      let node = top
      while (node.children !== undefined) {
        const [left, right] = node.children
        const bit = bitAt(log.logId, hashes.length)
        hashes.push(bit === 0 ? right.hash : left.hash)
        node = bit === 0 ? left : right
      }
      if (!equalHashes(node.hash, logLeaf(log, salt, hasher))) {
        throw new LogError('wrong_size', 'the tree of logs has no such log')
      }
      return { salt, hashes: hashes.reverse() }
    },
  }
}

/** @throws LogError `wrong_size` | `proof_mismatch` where the log is not in the tree with this root */
export function checkLogsTree(proof: LogsTreeProof, log: AnchoredLog, root: Hash, hasher: Hasher): void {
  const { salt, hashes } = proof
  if (hashes.length < minDepth || hashes.length > maxDepth) {
    throw new LogError('proof_mismatch', 'a log stands at a depth of 16 to 128')
  }
  const top = hashes.reduce(
    (hash, sibling, height) =>
      bitAt(log.logId, hashes.length - 1 - height) === 0
        ? hasher.node(hash, sibling)
        : hasher.node(sibling, hash),
    logLeaf(log, salt, hasher),
  )
  if (!equalHashes(top, root)) throw new LogError('proof_mismatch', 'the log is not in the tree of logs')
}

function compareIds(a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < logIdBytes; i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0)
    if (difference !== 0) return difference
  }
  return 0
}

function bitAt(logId: Uint8Array, position: number): 0 | 1 {
  return (((logId[position >> 3] ?? 0) >> (7 - (position & 7))) & 1) === 0 ? 0 : 1
}
