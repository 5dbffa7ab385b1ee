#!/usr/bin/env node
/** The entry of `annals`: hands the real services to the program and leaves with its exit code. */
import { loadConfig } from '../config.js'
import { createLogger } from '../logging.js'
import type { CliContext, CliServices } from './context.js'
import { exitCodes } from './exit.js'
import { createOutput } from './output.js'
import { run } from './program.js'

/** Each is loaded by the command that needs it: a process carries what it runs, and nothing else. */
const services: CliServices = {
  openApi: async (config, logger) => (await import('../api.js')).openApi(config, logger),
  openKeys: async (config, logger) => {
    const { openCore } = await import('../composition.js')
    const core = await openCore(config, logger)
    return { keys: core.accessKeys, close: () => core.close() }
  },
  openLog: async (config, logger) => {
    const { openCore } = await import('../composition.js')
    const core = await openCore(config, logger)
    return { ...core.sealing, close: () => core.close() }
  },
  setup: async (config, logger) => (await import('../operations/setup.js')).setup(config, logger),
  up: async (config, output) => (await import('./commands/up.js')).up(config, output),
}

const context: CliContext = {
  services,
  loadConfig: () => loadConfig(),
  createLogger: (config, destination) =>
    createLogger(config.logLevel, destination === 'stderr' ? process.stderr : undefined),
  output: (command) => createOutput(command.optsWithGlobals<{ json?: boolean }>().json === true),
}

// A reader that is gone (`| head`, a closed terminal) is no reason to leave what was begun half done. What could not be
// written for another reason (a full disk) is told by the exit code.
const readerGone: readonly unknown[] = ['EPIPE', 'EIO']
for (const stream of [process.stdout, process.stderr])
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (!readerGone.includes(error.code)) process.exitCode = exitCodes.failed
  })

const argumentList = process.argv.slice(2)
const exitCode = await run(argumentList, context, createOutput(argumentList.includes('--json')))
if (exitCode !== exitCodes.ok) process.exitCode = exitCode
