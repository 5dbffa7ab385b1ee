/**
 * The failure matrix of sealing: each write × {lost, done but unanswered, process killed before, process killed after},
 * by breaking real connections to a real mongod. After every cell the ordinary path goes on, and one oracle looks at
 * everything.
 */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openCore } from '../../src/composition.js'
import { eventDocumentId } from '../../src/events/store.js'
import { createLogger } from '../../src/logging.js'
import { createLogOracle } from '../support/log-oracle.js'
import { startMongoProxy, type Fault } from '../support/mongo-proxy.js'
import { accept, drainUntilSealed } from '../support/sealing.js'
import { mongoUri } from '../support/servers.js'
import { openWorld, type World } from '../support/world.js'

let world: World
let lifetimeSeconds: unknown

beforeAll(async () => {
  world = await openWorld()
  // The transaction of a process that died is held this long; the default says nothing more.
  const admin = world.api.core.client.db('admin')
  const before = await admin.command({ getParameter: 1, transactionLifetimeLimitSeconds: 1 })
  lifetimeSeconds = before['transactionLifetimeLimitSeconds']
  await admin.command({ setParameter: 1, transactionLifetimeLimitSeconds: 4 })
})
afterAll(async () => {
  const admin = world.api.core.client.db('admin')
  await admin.command({ setParameter: 1, transactionLifetimeLimitSeconds: lifetimeSeconds })
  await world.close()
})

interface Step {
  readonly command: string
  readonly collection: string
  /** Events sealed before: none, or so many that the batch fills one tile and begins the next. */
  readonly sealedBefore: number
}

const grown = 253
const steps: readonly Step[] = [
  { command: 'insert', collection: 'logHeads', sealedBefore: 0 },
  { command: 'insert', collection: 'logTiles', sealedBefore: 0 },
  { command: 'insert', collection: 'logEntries', sealedBefore: 0 },
  { command: 'update', collection: 'logHeads', sealedBefore: grown },
  { command: 'update', collection: 'logTiles', sealedBefore: grown },
  { command: 'insert', collection: 'logTiles', sealedBefore: grown },
  { command: 'update', collection: 'logEntries', sealedBefore: grown },
  { command: 'insert', collection: 'logEntries', sealedBefore: grown },
  { command: 'insert', collection: 'events', sealedBefore: grown },
  { command: 'update', collection: 'events', sealedBefore: grown },
  { command: 'commitTransaction', collection: '', sealedBefore: grown },
]
const faults: readonly Fault[] = ['lost', 'unanswered', 'killed_before', 'killed_after']

async function runCell(step: Step, fault: Fault, organizationId: string): Promise<string[]> {
  const { core } = world.api
  const oracle = createLogOracle(core, [organizationId])
  const acknowledged = await accept(core, organizationId, step.sealedBefore)
  if (step.sealedBefore > 0) await drainUntilSealed(core, organizationId)
  acknowledged.push(...(await accept(core, organizationId, 6)))
  const found = (await oracle.findings([])).filter((finding) => !finding.includes('pending'))
  // One damaged event in the batch, so that its event is a write of the transaction too.
  const damaged = acknowledged.at(-1)?.id ?? ''
  await core.events.updateOne(
    { _id: eventDocumentId(organizationId, damaged) },
    { $set: { action: 'edited' } },
  )

  const proxy = await startMongoProxy(mongoUri())
  const config = { ...world.config, mongodb: { ...world.config.mongodb, uri: proxy.uri } }
  const victim = await openCore(config, createLogger('silent'))
  const struck = new Promise<void>((resolve) => {
    proxy.plan({
      fault,
      hits: (command, collection) => command === step.command && collection === step.collection,
      onStrike: () => resolve(),
    })
  })
  const drained = victim.sealing.sealer.drainOrganization(organizationId).then(
    () => undefined,
    () => undefined,
  )
  await Promise.race([struck, drained])
  if (!proxy.struck) found.push('the write never came')
  // A process that was killed does nothing more; one that lost a connection goes on by itself.
  if (fault.startsWith('killed')) await victim.client.close(true).catch(() => undefined)
  await drained
  await victim.close().catch(() => undefined)
  await proxy.close()

  await drainUntilSealed(core, organizationId)
  found.push(...(await oracle.findings(acknowledged, new Set([damaged]))))
  const noted = await core.events.countDocuments({ organizationId, action: 'annals.log.event_damaged' })
  if (noted !== 1) found.push(`the damage was noted ${String(noted)} times`)
  return found.map((finding) => `${step.command} ${step.collection}, ${fault}: ${finding}`)
}

test.for(faults)(
  'every write of sealing, %s: the ordinary path repairs it',
  { timeout: 240_000 },
  async (fault) => {
    const run = (step: Step, index: number) => runCell(step, fault, `org_${fault}_${String(index)}`)
    // Side by side: what a dead process holds is waited for once.
    const found = await Promise.all(steps.map(run))
    expect(found.flat()).toEqual([])
  },
)
