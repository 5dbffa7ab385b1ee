/**
 * The rollback guard: a log that is behind what was published does not grow.
 *
 * A database that was restored from a backup would otherwise go on from the old tree, and sign a second history beside
 * the one that customers hold checkpoints of. Before a process seals a log for the first time it compares the
 * database with the log's copy; afterwards with the tree that it saw last, since nobody but a restore takes a log
 * back. What was refused is compared anew each time, and is refused until it fits, or until `annals log restart`
 * opens a new generation.
 */
import { LRUCache } from 'lru-cache'
import { equalHashes } from '../hash.js'
import { mayGrow, readAndCompare, type Compared, type Comparison, type LogTrees } from './compare.js'
import { isAhead, parseCopy, type CheckpointCopies, type CopyName, type PublishedTree } from './copies.js'

/** The log is not what was published, and must not grow. No content in it, so that it may be logged. */
export class RolledBackError extends Error {
  override readonly name = 'RolledBackError'
  readonly code = 'rolled_back'

  constructor(
    readonly log: CopyName,
    readonly comparison: Comparison,
  ) {
    super(`a log is ${comparison} compared with the checkpoint that was copied: see docs/anchoring.md`)
  }
}

export interface RollbackGuard {
  /**
   * To be called with a log as it was read, before anything is appended to it.
   * @param tree undefined where the database has no such log yet
   * @throws RolledBackError; LogError `tile_mismatch`; what the store of copies fails with
   */
  check(name: CopyName, tree: PublishedTree | undefined): Promise<void>
  /** Something else found the log not to fit: it is compared with its copy before it grows again. */
  doubt(name: CopyName): void
  /** The log as this process has committed it. */
  grown(name: CopyName, tree: PublishedTree): void
  /**
   * Compares every copy with its log, as a worker does when it starts.
   * @returns how many copies there are; those that do not fit are in `refused()`
   */
  survey(): Promise<number>
  /** The logs that were found not to fit and have not been found to fit since, at most 1,000. */
  refused(): ReadonlyMap<CopyName, Comparison>
}

export interface RollbackGuardDependencies extends LogTrees {
  readonly copies: CheckpointCopies
  /** Called each time that a log is found not to fit. */
  readonly onRefused: (name: CopyName, comparison: Comparison) => void
}

/** A log that nobody remembers is compared with its copy again. */
const maxRemembered = 20_000
const maxRefused = 1_000
const surveyedAtOnce = 8

export function createRollbackGuard(dependencies: RollbackGuardDependencies): RollbackGuard {
  const { copies, treeOf, onRefused } = dependencies
  const remembered = new LRUCache<CopyName, PublishedTree>({ max: maxRemembered })
  const refused = new Map<CopyName, Comparison>()

  async function compare(name: CopyName, read: PublishedTree | undefined): Promise<Compared> {
    const compared = await readAndCompare(copies, name, read, dependencies)
    const { comparison } = compared
    if (mayGrow(comparison)) refused.delete(name)
    else {
      if (refused.size < maxRefused) refused.set(name, comparison)
      onRefused(name, comparison)
    }
    return compared
  }

  /** What this process saw published, and the database no longer has, must not be forgotten with the process. */
  async function keep(name: CopyName, seen: PublishedTree): Promise<void> {
    const note = await copies.read(name)
    const copy = note === undefined ? undefined : parseCopy(name, note)
    if (copy === undefined || isAhead(seen, copy)) await copies.write(name, seen.checkpoint)
  }

  return {
    async check(name, tree) {
      const seen = remembered.get(name)
      if (seen !== undefined && tree !== undefined && goesOn(seen, tree)) return
      if (seen !== undefined && (tree === undefined || !isAhead(tree, seen))) await keep(name, seen)
      const compared = await compare(name, tree)
      if (!mayGrow(compared.comparison)) throw new RolledBackError(name, compared.comparison)
      if (compared.tree !== undefined) remembered.set(name, compared.tree)
    },
    doubt(name) {
      remembered.delete(name)
    },
    grown(name, tree) {
      remembered.set(name, tree)
    },
    async survey() {
      let count = 0
      // One generator for all: a failure of one closes it, and so ends the others.
      const names = copies.names()
      const surveyor = async (): Promise<void> => {
        for await (const name of names) {
          count += 1
          await compare(name, await treeOf(name))
        }
      }
      await Promise.all(Array.from({ length: surveyedAtOnce }, surveyor))
      return count
    },
    refused: () => refused,
  }
}

/** Is it the tree that was seen, or one that another process has grown from it? */
function goesOn(seen: PublishedTree, tree: PublishedTree): boolean {
  if (tree.generation !== seen.generation) return false
  return tree.size > seen.size || (tree.size === seen.size && equalHashes(tree.root, seen.root))
}
