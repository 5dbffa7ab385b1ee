/** How far a verification is, by the leaves of the log. */
import type { Writable } from 'node:stream'
import { createProgressBar, type ProgressKind } from '../progress.js'

export interface LeafProgress {
  update(leaves: number, size: number): void
  /** Leaves the cursor on a line of its own. */
  end(): void
}

/** @param what is done with the leaves, such as `verify` */
export function createLeafProgress(
  out: Pick<Writable, 'write'>,
  kind: ProgressKind,
  what: string,
): LeafProgress {
  const bar = createProgressBar(out, kind, what)
  return {
    update: (leaves, size) =>
      bar.update({
        done: leaves,
        share: size === 0 ? 1 : leaves / size,
        place: `leaf ${leaves.toLocaleString('en')} of ${size.toLocaleString('en')}`,
      }),
    end: () => bar.end(),
  }
}
