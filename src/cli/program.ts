/** The command line: its commands, its global options, and how a failure becomes an exit code. */
import { Command } from 'commander'
import { version } from '../version.js'
import { registerArchive } from './commands/archive.js'
import { registerDemo } from './commands/demo.js'
import { registerDoctor } from './commands/doctor.js'
import { registerErasure } from './commands/erasure.js'
import { registerImport } from './commands/import.js'
import { registerKeys } from './commands/keys.js'
import { registerLog } from './commands/log.js'
import { registerServe } from './commands/serve.js'
import { registerSetup } from './commands/setup.js'
import { registerVerify } from './commands/verify.js'
import { registerWork } from './commands/work.js'
import { withExample, type CliContext, type RegisterCommand } from './context.js'
import { exitCodes, failureOf, type ExitCode } from './exit.js'
import type { Output } from './output.js'

const registerUp: RegisterCommand = (program, context) => {
  const command = program
    .command('up')
    .description('Start everything here: MongoDB, Temporal, API and worker, with data in .annals/')
    .action(async (_options: unknown, self: Command) => {
      await context.services.up(context.loadConfig(), context.output(self))
    })
  withExample(command, 'annals up', 'ANNALS_MONGODB_URI=mongodb://db:27017/?replicaSet=rs0 annals up')
}

/** In the order of `--help`. A new command is a file in `commands/` and a line here. */
const commands: readonly RegisterCommand[] = [
  registerUp,
  registerServe,
  registerWork,
  registerSetup,
  registerKeys,
  registerDemo,
  registerImport,
  registerLog,
  registerVerify,
  registerArchive,
  registerErasure,
  registerDoctor,
]

export function createProgram(context: CliContext): Command {
  const program = new Command('annals')
    .description('Audit logs that prove themselves, and forget a person on request.')
    .version(version)
    .option('--json', 'print one JSON document instead of text')
    .showHelpAfterError('(--help shows how it is used)')
    .exitOverride()
  for (const register of commands) register(program, context)
  withExample(program, 'annals up', 'annals keys create --role ingest --name backend')
  // Sub-commands are made before they could inherit it.
  for (const command of allCommands(program)) command.exitOverride()
  return program
}

const allCommands = (command: Command): readonly Command[] => [
  command,
  ...command.commands.flatMap(allCommands),
]

/** Runs one command line (without node and script). Never throws. */
export async function run(
  argumentList: readonly string[],
  context: CliContext,
  failureOutput: Output,
): Promise<ExitCode> {
  try {
    await createProgram(context).parseAsync(argumentList, { from: 'user' })
    return exitCodes.ok
  } catch (error) {
    const { exitCode, text, code } = failureOf(error)
    if (text !== undefined) {
      failureOutput.note(
        failureOutput.json ? JSON.stringify({ error: { code, message: text } }) : `annals: ${text}`,
      )
    }
    return exitCode
  }
}
