/** One import: a file or standard input, over a stream, with what is needed to go on after a kill. */
import { createReadStream, fstatSync, openSync } from 'node:fs'
import type { Readable } from 'node:stream'
import type { AnnalsClient, StreamCounts } from '../../client/index.js'
import { AnnalsError, type ErrorCode } from '../../errors.js'
import { problemTable } from '../../http/problem-table.js'
import { importLines, type Place } from './lines.js'
import type { ProgressView } from './progress.js'
import { FailureReport } from './report.js'
import { freshState, readState, stateFileOf, writeState, type ImportState } from './state.js'

export interface ImportOptions {
  /** A path, or `-` for standard input. */
  readonly file: string
  readonly organization: string | undefined
  /** Stands in the idempotency keys instead of a random name. */
  readonly name: string | undefined
  /** From the first line again, under the same keys. */
  readonly restart: boolean
  readonly maxFailures: number
  readonly failuresFile: string | undefined
  readonly signal: AbortSignal
}

export interface ImportResult extends StreamCounts {
  /** The line that this run started behind. */
  readonly resumedAfterLine: number
  readonly lastLine: number
  /** Absent where nothing was refused. */
  readonly failuresFile: string | undefined
}

const saveEveryMs = 500

/**
 * @throws AnnalsError `wrong_state` where the file or the options are not those of the import that is to go on;
 *   AnnalsClientError. In both cases the state says where to go on.
 */
export async function runImport(
  client: AnnalsClient,
  options: ImportOptions,
  input: Readable,
  progress: ProgressView,
): Promise<ImportResult> {
  const { file, organization, maxFailures, signal } = options
  const statePath = file === '-' ? undefined : stateFileOf(file)
  const source = file === '-' ? undefined : openSync(file, 'r')
  const size = source === undefined ? undefined : fstatSync(source).size
  let state = startState(options, statePath, size)
  if (statePath !== undefined) writeState(statePath, state)
  const resumedAfterLine = state.line
  const report = new FailureReport(
    options.failuresFile ?? `${file === '-' ? 'annals-import' : file}.failures.ndjson`,
  )
  report.open(state.line)
  const before = { accepted: state.accepted, replayed: state.replayed }
  let savedAt = performance.now()

  const refuse = (line: number, code: ErrorCode) => {
    report.add({ line, status: problemTable[code].status, code })
    if (report.count >= maxFailures) throw tooMany(maxFailures)
  }
  const reached = (place: Place, counts: StreamCounts) => {
    state = {
      ...state,
      ...place,
      accepted: before.accepted + counts.accepted,
      replayed: before.replayed + counts.replayed,
    }
    progress.update({
      line: state.line,
      share: size === undefined || size === 0 ? undefined : state.offset / size,
      rejected: report.count,
    })
    if (statePath === undefined || performance.now() - savedAt < saveEveryMs) return
    savedAt = performance.now()
    writeState(statePath, state)
  }

  const chunks: AsyncIterable<Buffer> =
    source === undefined
      ? input
      : createReadStream('', { fd: source, start: state.offset, highWaterMark: 65_536 })
  let lastFault: Place = { line: 0, offset: 0 }
  const items = importLines(chunks, {
    start: { line: state.line, offset: state.offset },
    keyOf: (line) => `import:${state.name}:${String(line)}`,
    organization,
    onFault: (place, code) => {
      lastFault = place
      refuse(place.line, code)
    },
  })
  try {
    await client.streamLines(items, {
      signal,
      maxFailures: Math.max(1, maxFailures - report.count),
      onFailure: ({ tag, problem: { status, code, errors } }) =>
        report.add({ line: tag.line, status, code, ...(errors === undefined ? {} : { errors }) }),
      onProgress: ({ counts, tag }) => reached(tag, counts),
    })
    // Nothing after the last event sent but lines that were not worth sending.
    if (lastFault.line > state.line) state = { ...state, ...lastFault }
  } finally {
    progress.end()
    if (statePath !== undefined) writeState(statePath, state)
  }
  return {
    accepted: state.accepted - before.accepted,
    replayed: state.replayed - before.replayed,
    rejected: report.count,
    resumedAfterLine,
    lastLine: state.line,
    failuresFile: report.count > 0 ? report.path : undefined,
  }
}

function startState(
  { name, organization, restart }: ImportOptions,
  statePath: string | undefined,
  size: number | undefined,
): ImportState {
  const known = statePath === undefined ? undefined : readState(statePath)
  if (known === undefined) return freshState(name, organization)
  if (name !== undefined && name !== known.name) {
    throw new AnnalsError(
      'wrong_state',
      `This file was imported as ${known.name}; its keys would be others now.`,
    )
  }
  if (known.organization !== (organization ?? null)) {
    const was =
      known.organization === null ? 'without --organization' : `with --organization ${known.organization}`
    throw new AnnalsError('wrong_state', `This file was imported ${was}; go on the same way.`)
  }
  if (restart) return { ...freshState(known.name, organization) }
  if (size !== undefined && size < known.offset) {
    throw new AnnalsError(
      'wrong_state',
      'The file is shorter than what was imported of it: it is another one. Move its .annals-import.json away to import it anew.',
    )
  }
  return known
}

const tooMany = (count: number) =>
  new AnnalsError('too_many_failures', `${count} lines were refused; the report file names them.`)
