/** How far a verification is: a bar on a terminal, else a line every few seconds. */
import type { Writable } from 'node:stream'

export interface LeafProgress {
  update(leaves: number, size: number): void
  /** Leaves the cursor on a line of its own. */
  end(): void
}

const barWidth = 24
const terminalMs = 100
const plainMs = 5_000

/** @param what is done with the leaves, such as `verify` */
export function createLeafProgress(
  out: Pick<Writable, 'write'>,
  kind: 'terminal' | 'plain' | 'none',
  what: string,
): LeafProgress {
  const startedAt = performance.now()
  let first: number | undefined
  let shownAt = startedAt
  return {
    update(leaves, size) {
      const now = performance.now()
      first ??= leaves
      if (kind === 'none' || now - shownAt < (kind === 'terminal' ? terminalMs : plainMs)) return
      shownAt = now
      const share = size === 0 ? 1 : leaves / size
      const perSecond = Math.round(((leaves - first) / (now - startedAt)) * 1_000)
      const text = [
        `${String(Math.floor(share * 100)).padStart(3)} %`,
        `leaf ${leaves.toLocaleString('en')} of ${size.toLocaleString('en')}`,
        `${perSecond.toLocaleString('en')}/s`,
      ].join('  ')
      const full = Math.round(share * barWidth)
      const bar = `[${'#'.repeat(full)}${'-'.repeat(barWidth - full)}]`
      out.write(kind === 'plain' ? `${what}: ${text}\n` : `\r\u001b[K${bar} ${text}`)
    },
    end() {
      if (kind === 'terminal') out.write('\r\u001b[K')
    },
  }
}
