/** `annals import FILE|-`: a file of events into a running Annals, once, however often it is interrupted. */
import { InvalidArgumentError } from 'commander'
import { AnnalsClientError, createClient } from '../../client/index.js'
import { AnnalsError } from '../../errors.js'
import { organizationIdPattern } from '../../organizations/contract.js'
import { withExample, type RegisterCommand } from '../context.js'
import { createProgress } from '../import/progress.js'
import { runImport, type ImportResult } from '../import/run.js'
import { apiAddress } from '../running.js'
import { listenForShutdown } from '../shutdown.js'

interface Options {
  readonly url?: string
  readonly key?: string
  readonly organization?: string
  readonly name?: string
  readonly restart?: boolean
  readonly maxFailures: number
  readonly failures?: string
}

export const registerImport: RegisterCommand = (program, context) => {
  const command = program
    .command('import')
    .argument('<file>', 'NDJSON, one event a line; - for standard input')
    .description('Import events; goes on where it stopped, and stores nothing twice')
    .option('--url <url>', 'the API (default: ANNALS_URL, or the running "annals up")')
    .option('--key <key>', 'an ingest or owner key (default: ANNALS_KEY)')
    .option('--organization <id>', 'put every event into this organization', organizationOf)
    .option('--name <name>', 'name the import in its idempotency keys, to make repeats of - idempotent')
    .option('--restart', 'from the first line again, under the same idempotency keys')
    .option('--max-failures <count>', 'stop after this many refused lines', countOf, 1_000)
    .option('--failures <file>', 'the report of refused lines (default: <file>.failures.ndjson)')
    .action(async (file: string, options: Options, self: typeof command) => {
      const { url, key } = apiAddress(context.loadConfig(), options)
      if (key === undefined) {
        throw new AnnalsError('unauthenticated', 'No key: give --key, or set ANNALS_KEY.')
      }
      const output = context.output(self)
      const kind = output.json ? 'none' : process.stderr.isTTY ? 'terminal' : 'plain'
      const shutdown = listenForShutdown()
      const stop = new AbortController()
      void shutdown.requested.then(() => stop.abort())
      let result: ImportResult
      try {
        result = await runImport(
          createClient({ url, key }),
          {
            file,
            organization: options.organization,
            name: options.name,
            restart: options.restart === true,
            maxFailures: options.maxFailures,
            failuresFile: options.failures,
            signal: stop.signal,
          },
          process.stdin,
          createProgress(process.stderr, kind),
        )
      } catch (error) {
        throw explained(error, file)
      } finally {
        shutdown.dispose()
      }
      output.result({ ...result, failuresFile: result.failuresFile ?? null }, () => textOf(result))
      if (result.rejected > 0) {
        throw new Error(`${String(result.rejected)} lines were refused; see ${result.failuresFile ?? ''}`)
      }
    })
  withExample(
    command,
    'annals import history.ndjson --organization org_acme',
    'zcat history.ndjson.gz | annals import - --name history-2025',
  )
}

function textOf({ accepted, replayed, rejected, resumedAfterLine, lastLine }: ImportResult): string {
  const from = resumedAfterLine > 0 ? ` (went on after line ${String(resumedAfterLine)})` : ''
  const parts = [
    `${String(accepted)} stored`,
    `${String(replayed)} had been there`,
    `${String(rejected)} refused`,
  ]
  return `${parts.join(', ')}; up to line ${String(lastLine)}${from}`
}

/** What was done is done: the same command goes on from there. */
function explained(error: unknown, file: string): unknown {
  if (!(error instanceof AnnalsClientError)) return error
  const advice = file === '-' ? '' : ' Run the same command again to go on where it stopped.'
  const { status, problem, retryAfterMs, cause } = error
  const text = error.code === 'aborted' ? 'Stopped.' : error.message
  return new AnnalsClientError(error.code, `${text}${advice}`, { status, problem, retryAfterMs, cause })
}

function organizationOf(text: string): string {
  if (!organizationIdPattern.test(text)) throw new InvalidArgumentError('1 to 64 of A-Z, a-z, 0-9, _ and -.')
  return text
}

function countOf(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError('It must be a whole number, 1 or more.')
  return Number(text)
}
