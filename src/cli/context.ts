/** What every command gets: its configuration, its output, and the services it works with. */
import type { RequestListener } from 'node:http'
import type { Command } from 'commander'
import type { AccessKeyService } from '../access/service.js'
import type { Config } from '../config.js'
import type { Health } from '../http/health.js'
import type { Logger } from '../logging.js'
import type { AnchorRestarter } from '../transparency-log/anchor/restart-anchor.js'
import type { LogRestarter } from '../transparency-log/checkpoint-copies/restart.js'
import type { Output } from './output.js'

/** The API as the composition root opens it. */
export interface ApiService {
  readonly app: RequestListener
  readonly health: Health
  /** Commits what was accepted, then closes every connection. */
  readonly close: () => Promise<void>
}

/** Keys as an operator at the machine reaches them: in the database, not over HTTP. */
export interface KeyAdministration {
  readonly keys: AccessKeyService
  readonly close: () => Promise<void>
}

/** Logs as an operator at the machine reaches them. */
export interface LogAdministration {
  readonly restarter: LogRestarter
  readonly anchoring: { readonly restarter: AnchorRestarter }
  readonly close: () => Promise<void>
}

export interface SetupResult {
  /** The secret of the first administrator's key, where setup has made it: shown once. */
  readonly firstKey: string | undefined
}

/** Loaded when a command needs them, so that `--help` is quick and a test can hand in its own. */
export interface CliServices {
  readonly openApi: (config: Config, logger: Logger) => Promise<ApiService>
  readonly openKeys: (config: Config, logger: Logger) => Promise<KeyAdministration>
  readonly openLog: (config: Config, logger: Logger) => Promise<LogAdministration>
  readonly setup: (config: Config, logger: Logger) => Promise<SetupResult>
  readonly up: (config: Config, output: Output) => Promise<void>
}

export interface CliContext {
  readonly services: CliServices
  /** @throws ConfigError */
  readonly loadConfig: () => Config
  /** Servers log to standard output; a command with a result of its own leaves that to the result. */
  readonly createLogger: (config: Config, destination?: 'stdout' | 'stderr') => Logger
  /** By the command's `--json`. */
  readonly output: (command: Command) => Output
}

/** Adds one command, with its options and an example, to the program. */
export type RegisterCommand = (program: Command, context: CliContext) => void

/** An example at the end of `--help`. */
export const withExample = (command: Command, ...examples: readonly string[]): Command =>
  command.addHelpText('after', `\nExample:\n${examples.map((example) => `  $ ${example}`).join('\n')}`)
