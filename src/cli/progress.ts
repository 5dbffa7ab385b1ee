/** How far a long command is: a bar on a terminal, else a line every few seconds. */
import type { Writable } from 'node:stream'

export type ProgressKind = 'terminal' | 'plain' | 'none'

export interface Progress {
  /** What was done so far; a command that went on from earlier does not begin at 0. */
  readonly done: number
  /** Of the whole, 0 to 1; undefined where nobody knows how much that is. */
  readonly share: number | undefined
  /** Where it is, in words. */
  readonly place: string
  /** More to say, behind the rate. */
  readonly notes?: readonly string[]
}

export interface ProgressBar {
  /** Cheap where it is not yet time to show something. */
  update(progress: Progress): void
  /** Leaves the cursor on a line of its own. */
  end(): void
}

const barWidth = 24
const terminalMs = 100
const plainMs = 5_000
const clearLine = '\r\u001b[K'

/** @param what is done, such as `verify`: a plain line begins with it */
export function createProgressBar(
  out: Pick<Writable, 'write'>,
  kind: ProgressKind,
  what: string,
): ProgressBar {
  const startedAt = performance.now()
  let first: number | undefined
  let shownAt = startedAt
  return {
    update({ done, share, place, notes = [] }) {
      const now = performance.now()
      first ??= done
      if (kind === 'none' || now - shownAt < (kind === 'terminal' ? terminalMs : plainMs)) return
      shownAt = now
      const perSecond = Math.round(((done - first) / (now - startedAt)) * 1_000)
      const percent = share === undefined ? [] : [`${String(Math.floor(share * 100)).padStart(3)} %`]
      const text = [...percent, place, `${perSecond.toLocaleString('en')}/s`, ...notes].join('  ')
      out.write(kind === 'plain' ? `${what}: ${text}\n` : `${clearLine}${bar(share)}${text}`)
    },
    end() {
      if (kind === 'terminal') out.write(clearLine)
    },
  }
}

function bar(share: number | undefined): string {
  if (share === undefined) return ''
  const full = Math.round(Math.min(1, share) * barWidth)
  return `[${'#'.repeat(full)}${'-'.repeat(barWidth - full)}] `
}
