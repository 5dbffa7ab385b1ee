/** What a command prints: for people, or with `--json` one JSON document on standard output and nothing else. */
import type { Writable } from 'node:stream'

export interface Output {
  readonly json: boolean
  /** The result of a command: the value with `--json`, else the text. */
  readonly result: (value: unknown, text: () => string) => void
  /** A line on the way (progress, warnings, what is wrong); to standard error, so that pipes stay clean. */
  readonly note: (line: string) => void
}

export interface OutputStreams {
  readonly out: Pick<Writable, 'write'>
  readonly error: Pick<Writable, 'write'>
}

export function createOutput(json: boolean, streams: OutputStreams = standardStreams): Output {
  return {
    json,
    result: (value, text) => void streams.out.write(`${json ? JSON.stringify(value) : text()}\n`),
    note: (line) => void streams.error.write(`${line}\n`),
  }
}

const standardStreams: OutputStreams = { out: process.stdout, error: process.stderr }

/** Columns as wide as their widest cell. */
export function table(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [heads, ...rows]
  const widths = heads.map((_head, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)))
  return lines
    .map((line) =>
      line
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}
