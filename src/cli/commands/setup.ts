/** `annals setup`: everything a deployment needs before it serves, made once, however often it runs. */
import { withExample, type RegisterCommand } from '../context.js'
import { requireTemporal, withDatabase } from '../running.js'

export const registerSetup: RegisterCommand = (program, context) => {
  const command = program
    .command('setup')
    .description(
      'Make indexes, the first key, the Temporal namespace and its search attributes; safe to repeat',
    )
    .action(async (_options: unknown, self: typeof command) => {
      const config = requireTemporal(withDatabase(context.loadConfig()))
      const { firstKey } = await context.services.setup(config, context.createLogger(config, 'stderr'))
      context
        .output(self)
        .result({ done: true, firstKey: firstKey ?? null }, () =>
          firstKey === undefined
            ? 'Everything is set up.'
            : `Everything is set up.\nThe first administrator key, shown this once:\n\n  ${firstKey}\n`,
        )
    })
  withExample(command, 'ANNALS_MONGODB_URI=mongodb://db:27017/?replicaSet=rs0 annals setup --json')
}
