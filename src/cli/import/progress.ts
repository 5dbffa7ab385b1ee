/** How far an import is, by lines and by the input's bytes. */
import type { Writable } from 'node:stream'
import { createProgressBar, type ProgressKind } from '../progress.js'

export interface ProgressView {
  update(progress: ImportProgress): void
  /** Leaves the cursor on a line of its own. */
  end(): void
}

export interface ImportProgress {
  readonly line: number
  /** Of the input's bytes; undefined where its length is not known. */
  readonly share: number | undefined
  readonly rejected: number
}

export function createProgress(out: Pick<Writable, 'write'>, kind: ProgressKind): ProgressView {
  const bar = createProgressBar(out, kind, 'import')
  return {
    update: ({ line, share, rejected }) =>
      bar.update({
        done: line,
        share,
        place: `line ${line.toLocaleString('en')}`,
        notes: rejected === 0 ? [] : [`${rejected.toLocaleString('en')} refused`],
      }),
    end: () => bar.end(),
  }
}
