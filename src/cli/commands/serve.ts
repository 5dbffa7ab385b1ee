/** `annals serve`: the API, against servers given by address. */
import type { Config } from '../../config.js'
import { startServer } from '../../http/server.js'
import type { Logger } from '../../logging.js'
import { withExample, type CliServices, type RegisterCommand } from '../context.js'
import { requireTemporal, withDatabase } from '../running.js'
import { listenForShutdown, tellParent } from '../shutdown.js'

/**
 * Serves until it is told to stop, then drains: readiness goes first, requests under way finish, what was
 * accepted is committed, connections close. Sends `{type: 'ready', url}` to a parent that listens.
 * @throws PortBusyError | MongoServerSelectionError
 */
export async function serve(config: Config, logger: Logger, open: CliServices['openApi']): Promise<void> {
  const shutdown = listenForShutdown()
  try {
    const api = await open(config, logger)
    try {
      const server = await startServer(api.app, config.http)
      logger.info('serve.ready', { port: server.port, region: config.region.name })
      tellParent({ type: 'ready', url: server.url })
      const reason = await shutdown.requested
      logger.info('serve.draining', { state: reason })
      api.health.startDraining()
      await server.stop()
    } finally {
      await api.close()
    }
    logger.info('serve.stopped')
  } finally {
    shutdown.dispose()
    // An open channel to a parent would keep the process alive.
    if (process.connected) process.disconnect()
  }
}

export const registerServe: RegisterCommand = (program, context) => {
  const command = program
    .command('serve')
    .description('Serve the HTTP API, with MongoDB and Temporal at the addresses of the environment')
    .action(async () => {
      const config = requireTemporal(withDatabase(context.loadConfig()))
      await serve(config, context.createLogger(config), context.services.openApi)
    })
  withExample(
    command,
    'ANNALS_MONGODB_URI=mongodb://db:27017/?replicaSet=rs0 ANNALS_TEMPORAL_ADDRESS=temporal:7233 annals serve',
  )
}
