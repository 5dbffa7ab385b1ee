/**
 * Copies of the newest checkpoints, kept apart from the database: what a database that was set back is found out by.
 *
 * A copy is the signed checkpoint itself, byte for byte, under the name of its log. It needs no signature check here:
 * whoever can write copies can stop sealing by a false one, and gains nothing more (docs/trust.md).
 */
import { parseCheckpoint } from '../checkpoint.js'
import { LogError } from '../errors.js'
import type { Hash } from '../hash.js'
import { parseNote } from '../note.js'

/** An organization's log in whatever generation, or the deployment's anchor log. */
export type CopyName = `org/${string}` | 'anchor'

export const copyNameOf = (organizationId: string): CopyName => `org/${organizationId}`

/** Where copies are kept (stored-copies.ts). */
export interface CheckpointCopies {
  /** The note as it was written; undefined where there is none. */
  read(name: CopyName): Promise<string | undefined>
  /** Replaces the copy, whole or not at all; it is durable when this resolves. */
  write(name: CopyName, note: string): Promise<void>
  /** For a log that is no more. */
  remove(name: CopyName): Promise<void>
  /** The names of all copies, in no order. */
  names(): AsyncGenerator<CopyName>
}

/** A log's tree at one moment, with the note that commits to it. */
export interface PublishedTree {
  /** From 1. */
  readonly generation: number
  readonly size: number
  readonly root: Hash
  readonly checkpoint: string
}

/** What a copy says; undefined where it is none of ours, or not whole. */
export function parseCopy(name: CopyName, note: string): PublishedTree | undefined {
  try {
    const { origin, size, root } = parseCheckpoint(parseNote(note).text)
    const generation = generationOf(name, origin)
    return generation === undefined ? undefined : { generation, size, root, checkpoint: note }
  } catch (error) {
    if (error instanceof LogError) return undefined
    throw error
  }
}

/** Is `a` a later state than `b`, by generation, then size? */
export function isAhead(
  a: Pick<PublishedTree, 'generation' | 'size'>,
  b: Pick<PublishedTree, 'generation' | 'size'>,
): boolean {
  return a.generation === b.generation ? a.size > b.size : a.generation > b.generation
}

/** Origins end in `/<organization>/<generation>`, and in `/anchor` or `/anchor.<generation>` (anchor/anchor-keys.ts). */
function generationOf(name: CopyName, origin: string): number | undefined {
  const [, last = '', suffix] =
    name === 'anchor'
      ? (/\/(anchor)(?:\.([1-9][0-9]{0,8}))?$/.exec(origin) ?? [])
      : (/^.*\/([^/]+)\/([1-9][0-9]{0,8})$/.exec(origin) ?? [])
  if (last !== (name === 'anchor' ? name : name.slice('org/'.length))) return undefined
  return suffix === undefined ? 1 : Number(suffix)
}
