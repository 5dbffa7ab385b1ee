import { spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client, Connection } from '@temporalio/client'
import { MongoClient } from 'mongodb'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { loadConfig } from '../../src/config.js'
import { identifyProcess } from '../../src/embedded/process-table.js'
import { freePort } from '../../src/embedded/ports.js'
import { stopLeftovers } from '../../src/embedded/records.js'
import type { ServerProcess } from '../../src/embedded/server-process.js'
import { prepareMongod, prepareTemporal } from '../../src/embedded/servers.js'
import { Supervised } from '../../src/embedded/supervisor.js'

const config = loadConfig()
const isGone = (pid: number) => identifyProcess(pid) === undefined

describe('embedded servers', () => {
  let dataDirectory: string
  let said: string[]
  const started: ServerProcess[] = []
  const blockers: Server[] = []
  beforeEach(() => {
    dataDirectory = mkdtempSync(join(tmpdir(), 'annals-embedded-'))
    said = []
  })
  afterEach(async () => {
    await Promise.all(started.splice(0).map((server) => server.stop()))
    for (const blocker of blockers.splice(0)) blocker.close()
    rmSync(dataDirectory, { recursive: true, force: true })
  })

  const plan = () => ({
    dataDirectory,
    cacheDirectory: config.cacheDirectory,
    progress: (line: string) => said.push(line),
  })
  const mongodOn = async (preferredPort: number) => {
    const start = await prepareMongod({
      ...plan(),
      binary: config.binaries.mongod,
      preferredPort,
      cacheGigabytes: 0.25,
    })
    const server = await start()
    started.push(server)
    return server
  }
  const temporalOn = async (preferredPort: number, preferredUiPort?: number) => {
    const start = await prepareTemporal({
      ...plan(),
      binary: config.binaries.temporal,
      preferredPort,
      ...(preferredUiPort === undefined ? {} : { preferredUiPort }),
      namespace: 'annals',
    })
    const server = await start()
    started.push(server)
    return server
  }
  const occupy = async (port: number) => {
    // Closes what it accepts: a mute one would keep mongod looking for itself there for half a minute.
    const blocker = createServer((socket) => socket.destroy())
    blockers.push(blocker)
    await new Promise<void>((resolve) => blocker.listen(port, '127.0.0.1', resolve))
  }
  const withCollection = async <T>(
    uri: string,
    use: (collection: ReturnType<ReturnType<MongoClient['db']>['collection']>) => Promise<T>,
  ) => {
    const client = await MongoClient.connect(uri, { writeConcern: { w: 'majority', journal: true } })
    try {
      return await use(client.db('test').collection('things'))
    } finally {
      await client.close()
    }
  }

  test('mongod finds its data at a second start, on another port where the first is busy, and says so', async () => {
    const port = await freePort(0)
    const first = await mongodOn(port)
    expect(first.port).toBe(port)
    expect(said).toEqual([])
    await withCollection(first.uri, (things) => things.insertOne({ kept: true }))
    await first.stop()
    expect(isGone(first.pid)).toBe(true)

    await occupy(port)
    const second = await mongodOn(port)
    expect(second.port).not.toBe(port)
    expect(said).toEqual([`mongod: port ${port} is in use, taking ${second.port} instead`])
    expect(await withCollection(second.uri, (things) => things.countDocuments({ kept: true }))).toBe(1)
  })

  test('a client of one data folder refuses the server of another that answers on its port', async () => {
    const server = await mongodOn(0)
    const ofAnother = server.uri.replace(/replicaSet=.*/, 'replicaSet=annals-another')
    const client = new MongoClient(ofAnother, { serverSelectionTimeoutMS: 500 })
    await expect(client.connect()).rejects.toThrow()
    await client.close()
  })

  test('a mongod that was killed is started again and has lost no journaled write', async () => {
    const start = await prepareMongod({ ...plan(), binary: config.binaries.mongod, preferredPort: 0 })
    const supervised = new Supervised({
      name: 'mongod',
      start,
      progress: (line) => said.push(line),
      onGiveUp: (error) => said.push(error.detail),
    })
    const first = await supervised.start()
    await withCollection(first.uri, (things) => things.insertOne({ kept: true }))
    process.kill(first.pid, 'SIGKILL')
    await expect.poll(() => said, { timeout: 30_000 }).toContain('mongod: runs again')
    expect(await withCollection(first.uri, (things) => things.countDocuments({ kept: true }))).toBe(1)
    await supervised.stop()
    expect(readdirSync(join(dataDirectory, 'run'))).toEqual([])
  })

  test("mongod's log quotes no document, not even where a command fails", async () => {
    const server = await mongodOn(0)
    await withCollection(server.uri, async (things) => {
      await things.insertOne({ name: 'Margarete Quux' })
      await things.createIndex({ name: 1 }, { unique: true }, {})
      await expect(things.insertOne({ name: 'Margarete Quux' })).rejects.toThrow()
      await expect(things.updateOne({ name: 'Margarete Quux' }, { $inc: { name: 1 } })).rejects.toThrow()
      await expect(
        things.findOneAndUpdate({ name: 'Margarete Quux' }, { $inc: { name: 1 } }),
      ).rejects.toThrow()
      await expect(things.find({ $where: 'sleep(150); throw "Margarete Quux"' }).toArray()).rejects.toThrow()
    })
    await server.stop()
    const log = readFileSync(join(dataDirectory, 'logs', 'mongod.log'), 'utf8')
    expect(log).toContain('Waiting for connections')
    expect(log).toContain('Plan executor error')
    expect(log).not.toContain('Quux')
  })

  test('Temporal finds its workflows at a second start, with its UI on a port of its own', async () => {
    const first = await temporalOn(0, 0)
    const page = await fetch(`http://127.0.0.1:${first.uiPort ?? 0}/`)
    expect(page.status).toBe(200)
    const withClient = async <T>(address: string, use: (client: Client) => Promise<T>) => {
      const connection = await Connection.connect({ address })
      try {
        return await use(new Client({ connection, namespace: 'annals' }))
      } finally {
        await connection.close()
      }
    }
    await withClient(first.address, (client) =>
      client.workflow.start('nobodyWorksOnThis', { taskQueue: 'none', workflowId: 'kept' }),
    )
    await first.stop()
    expect(isGone(first.pid)).toBe(true)

    await occupy(first.port)
    const second = await temporalOn(first.port)
    expect(said).toEqual([`temporal: port ${first.port} is in use, taking ${second.port} instead`])
    const found = await withClient(second.address, (client) => client.workflow.getHandle('kept').describe())
    expect(found.status.name).toBe('RUNNING')
  })

  test('what a killed start left behind is ended by the next, and nothing else is', async () => {
    const server = await mongodOn(0)
    const bystander = spawn('sleep', ['60'], { detached: true, stdio: 'ignore' })
    const { pid = 0 } = bystander
    // The id of a recorded process may belong to another by now.
    writeFileSync(
      join(dataDirectory, 'run', 'temporal.json'),
      JSON.stringify({ pid, startedAt: '1', command: 'temporal server start-dev' }),
    )
    writeFileSync(join(dataDirectory, 'run', 'serve.json'), 'not whole')
    expect(await stopLeftovers(dataDirectory)).toEqual(['mongod'])
    expect(isGone(server.pid)).toBe(true)
    expect(isGone(pid)).toBe(false)
    expect(readdirSync(join(dataDirectory, 'run'))).toEqual([])
    expect(await stopLeftovers(dataDirectory)).toEqual([])
    bystander.kill('SIGKILL')
  })

  test('a start that fails says why in plain words and leaves nothing running', async () => {
    const first = await mongodOn(0)
    const start = await prepareMongod({ ...plan(), binary: config.binaries.mongod, preferredPort: 0 })
    await expect(start()).rejects.toMatchObject({
      code: 'unavailable',
      detail: expect.stringContaining(
        `another mongod already uses ${join(dataDirectory, 'mongodb')}`,
      ) as string,
    })
    expect(isGone(first.pid)).toBe(false)
  })
})
