/**
 * Copies what changed: every log whose checkpoint is newer than its copy. A copy is only ever replaced by a tree that
 * begins with it, or by a later generation; what does not fit is left alone, and refused by the guard.
 */
import { LRUCache } from 'lru-cache'
import { ArchiveStoreError } from '../../archive/stores/contract.js'
import { LogError } from '../errors.js'
import { mayGrow, readAndCompare, type Comparison, type LogTrees } from './compare.js'
import type { CheckpointCopies, CopyName, PublishedTree } from './copies.js'

export interface CopyResult {
  readonly written: number
  /** Logs that do not fit their copies, at most a hundred of them. */
  readonly refused: readonly CopyName[]
  /** Copies that could not be read or written: a disk that is full or away. They are tried again the next time. */
  readonly failed: number
}

export interface CopierDependencies extends LogTrees {
  readonly copies: CheckpointCopies
  /** Every log as the database has it now. */
  readonly trees: () => AsyncGenerator<{ readonly name: CopyName; readonly tree: PublishedTree }>
  /** Called each time that a log does not fit its copy. */
  readonly onRefused: (name: CopyName, comparison: Comparison) => void
  readonly onFailed: (error: unknown) => void
}

const atOnce = 8
const maxRemembered = 100_000
const maxListed = 100

/** @returns a function that makes one pass over all logs; passes of one process must not overlap */
export function createCopier(dependencies: CopierDependencies): () => Promise<CopyResult> {
  const { copies, trees, onRefused, onFailed } = dependencies
  /** What this process has copied: a log that stands there needs no look at its copy. */
  const copied = new LRUCache<CopyName, string>({ max: maxRemembered })

  return async function copyAll() {
    let written = 0
    let failed = 0
    const refused: CopyName[] = []
    // One generator for all: a failure of one closes it, and so ends the others.
    const all = trees()

    async function copy(name: CopyName, read: PublishedTree): Promise<void> {
      const { comparison, tree = read, copy: old } = await readAndCompare(copies, name, read, dependencies)
      if (!mayGrow(comparison)) {
        if (refused.length < maxListed) refused.push(name)
        onRefused(name, comparison)
        return
      }
      if (old?.checkpoint !== tree.checkpoint) {
        await copies.write(name, tree.checkpoint)
        written += 1
      }
      copied.set(name, tree.checkpoint)
    }

    async function copier(): Promise<void> {
      for await (const { name, tree } of all) {
        if (copied.get(name) === tree.checkpoint) continue
        try {
          await copy(name, tree)
        } catch (error) {
          // Of one log: its tiles do not fit, or its copy cannot be read or written. The others go on.
          if (!(error instanceof LogError) && !(error instanceof ArchiveStoreError)) throw error
          failed += 1
          onFailed(error)
        }
      }
    }

    await Promise.all(Array.from({ length: atOnce }, copier))
    return { written, refused, failed }
  }
}
