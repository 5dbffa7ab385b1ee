/** How far an import is: a bar on a terminal, else a line every few seconds. */
import type { Writable } from 'node:stream'

export interface ProgressView {
  update(progress: Progress): void
  /** Leaves the cursor on a line of its own. */
  end(): void
}

export interface Progress {
  readonly line: number
  /** Of the input's bytes; undefined where its length is not known. */
  readonly share: number | undefined
  readonly rejected: number
}

const barWidth = 24
const terminalMs = 100
const plainMs = 5_000

/** @param terminal the stream is one; with neither it nor `plain`, nothing is shown */
export function createProgress(
  out: Pick<Writable, 'write'>,
  kind: 'terminal' | 'plain' | 'none',
): ProgressView {
  const startedAt = performance.now()
  let firstLine: number | undefined
  let shownAt = startedAt
  const text = ({ line, share, rejected }: Progress): string => {
    firstLine ??= line
    const perSecond = Math.round(((line - firstLine) / (performance.now() - startedAt)) * 1_000)
    const parts = [`line ${line.toLocaleString('en')}`, `${perSecond.toLocaleString('en')}/s`]
    if (share !== undefined) parts.unshift(`${String(Math.floor(share * 100)).padStart(3)} %`)
    if (rejected > 0) parts.push(`${rejected.toLocaleString('en')} refused`)
    return parts.join('  ')
  }
  return {
    update(progress) {
      const now = performance.now()
      if (kind === 'none' || now - shownAt < (kind === 'terminal' ? terminalMs : plainMs)) return
      shownAt = now
      if (kind === 'plain') out.write(`import: ${text(progress)}\n`)
      else out.write(`\r\u001b[K${bar(progress.share)}${text(progress)}`)
    },
    end() {
      if (kind === 'terminal') out.write('\r\u001b[K')
    },
  }
}

function bar(share: number | undefined): string {
  if (share === undefined) return ''
  const full = Math.round(Math.min(1, share) * barWidth)
  return `[${'#'.repeat(full)}${'-'.repeat(barWidth - full)}] `
}
