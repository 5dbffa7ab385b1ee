/**
 * Log files. Nothing is ever meant to be in one, so that there is nothing to erase: what this target does is look, line by
 * line, with what the second reader looks for. A line that names the person is a leak, whenever it was written: an operator
 * has to see it, and take it out.
 */
import { logFilesTargetName, type LogFile, type LogFiles } from '../log-files.js'
import { minUnconfirmedLength } from '../matching.js'
import { findsAny, needlesOf, type Needle } from '../needles.js'
import type { ErasureTarget, ErasureWork } from './contract.js'

/** So many lines are named; all are counted. */
const maxNamed = 20
/** A name that an operator may be shown; others go by their number. */
const plainName = /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/

export function logFilesTarget(logs: LogFiles): ErasureTarget {
  async function count({ searched = [], beat, onLeft, onRead }: ErasureWork): Promise<number> {
    // A shorter one stands in any log, confirmed or not: it would say nothing, and no request would ever end.
    const telling = searched.filter(({ value }) => value.trim().length >= minUnconfirmedLength)
    const needles = telling.flatMap(needlesOf)
    let found = 0
    let read = 0
    const note = (place: string) => {
      found += 1
      if (found <= maxNamed) onLeft?.(`${logFilesTargetName}/${place}`)
    }
    for await (const file of logs.files()) {
      beat()
      read += 1
      const named = findsAny(needles, Buffer.from(file.name).toString('latin1'))
      const name = !named && plainName.test(file.name) ? file.name : `file_${String(read)}`
      if (named) note(name)
      for await (const line of linesNaming(needles, file, beat)) note(`${name}:${String(line)}`)
    }
    onRead?.({ kind: 'log_files', name: logFilesTargetName, read })
    return found
  }

  return {
    name: logFilesTargetName,
    collections: [],
    erases: false,
    reach: () => logs.reach(),
    scope: count,
    erase: () => Promise.resolve(0),
    verify: count,
  }
}

/** Numbers of the lines in which one of the needles stands. */
async function* linesNaming(
  needles: readonly Needle[],
  file: LogFile,
  beat: () => void,
): AsyncGenerator<number> {
  for await (const { firstLine, bytes } of file.blocks()) {
    beat()
    // Nearly always nothing is there: one look for some thousand lines.
    const block = bytes.toString('latin1')
    if (!findsAny(needles, block)) continue
    let line = firstLine
    for (const text of block.split('\n')) {
      if (findsAny(needles, text) && findsAny(needles, withoutNumbers(text))) yield line
      line += 1
    }
  }
}

/**
 * A bare number in a structured line is a port, a count, a code of a server, and no identifier, which would stand there as
 * text: mongod alone numbers its messages with seven digits.
 */
function withoutNumbers(line: string): string {
  if (!line.startsWith('{')) return line
  try {
    const parsed: unknown = JSON.parse(line)
    return JSON.stringify(parsed, (_, value: unknown) => (typeof value === 'number' ? null : value))
  } catch {
    return line
  }
}
