/**
 * One of the servers that are measured side by side, in a process of its own: `node dist/bench/server.js <kind>`.
 *
 *     echo    Express 5, reads the JSON body and answers it in one line: what HTTP alone costs
 *     naive   Express 5, one majority `insertOne` a request, of the same stored documents with the same indexes
 *     annals  the API as `annals serve` runs it
 *     sealer  the loops of all partitions, as one worker runs them; it listens nowhere
 *
 * It tells its port over IPC and stops when its parent does.
 */
import type { RequestListener } from 'node:http'
import express from 'express'
import { openApi } from '../src/api.js'
import { openCore } from '../src/composition.js'
import { loadConfig } from '../src/config.js'
import { ensureEventIndexes, eventDocumentId, type StoredEvent } from '../src/events/store.js'
import { startServer } from '../src/http/server.js'
import { newId } from '../src/ids.js'
import { createLogger } from '../src/logging.js'
import { connectMongo } from '../src/mongo/client.js'
import { sealPartitions } from '../src/transparency-log/contract.js'
import { runSealingLoop } from '../src/transparency-log/sealing-loop.js'
import { benchCollections } from './data.js'

const answer = {
  id: 'evt_01h455vb4pex5vsknk084sn02q',
  leafHash: 'n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=',
}

function echo(): express.Express {
  const app = express()
  app.post('/v1/events', express.json(), (_request, response) => {
    response.status(201).json(answer)
  })
  return app
}

async function naive(): Promise<express.Express> {
  const config = loadConfig()
  const { db } = await connectMongo(config.mongodb.uri ?? '', config.mongodb.database)
  const templates = await db.collection<StoredEvent>(benchCollections.templates).find().toArray()
  const events = db.collection<StoredEvent>(benchCollections.naive)
  await ensureEventIndexes(events)
  let next = 0
  const app = express()
  app.post('/v1/events', express.json(), async (_request, response) => {
    const template = templates[next++ % templates.length]
    if (template === undefined) throw new Error('no templates')
    await events.insertOne({ ...template, _id: eventDocumentId(template.organizationId, newId('evt')) })
    response.status(201).json(answer)
  })
  return app
}

async function annals(): Promise<RequestListener> {
  const config = loadConfig()
  const { app } = await openApi(config, createLogger(config.logLevel))
  return app
}

/** Runs until this process is killed. */
async function sealer(): Promise<number> {
  const { sealing } = await openCore(loadConfig(), createLogger('silent'))
  const { signal } = new AbortController()
  for (let partition = 0; partition < sealPartitions; partition += 1) {
    const place = { partition, partitions: sealPartitions, signal }
    void runSealingLoop({ ...sealing, logger: createLogger('silent') }, place)
  }
  return 0
}

const listening = (make: () => RequestListener | Promise<RequestListener>) => async () =>
  (await startServer(await make(), { host: '127.0.0.1', port: 0 })).port

const kinds: Record<string, () => Promise<number>> = {
  echo: listening(echo),
  naive: listening(naive),
  annals: listening(annals),
  sealer,
}
const start = kinds[process.argv[2] ?? '']
if (start === undefined) throw new Error(`which server? ${Object.keys(kinds).join(', ')}`)
const port = await start()
process.on('disconnect', () => process.exit(0))
// Asked before and after a run: what the server itself used, whatever else the machine was doing.
process.on('message', () => {
  const { user, system } = process.cpuUsage()
  process.send?.({ cpu: user + system, rss: process.memoryUsage.rss() })
})
process.send?.({ port })
