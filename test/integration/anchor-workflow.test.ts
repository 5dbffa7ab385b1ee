import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { createLogger } from '../../src/logging.js'
import { connectTemporal, temporalOptions, type TemporalConnection } from '../../src/temporal/client.js'
import { startAnchoring } from '../../src/transparency-log/anchor/start-anchoring.js'
import { copyNameOf } from '../../src/transparency-log/checkpoint-copies/copies.js'
import { anchorWorkflowId, sealPartitions, sealWorkflowId } from '../../src/transparency-log/contract.js'
import { buildWorkflowBundle } from '../../workers/bundle.js'
import { startWorkers, type RunningWorkers } from '../../workers/main.js'
import { copiesOf, sealingOf } from '../support/anchoring.js'
import { accept } from '../support/sealing.js'
import { startWitness, type Witness } from '../support/witness.js'
import { openWorld, type World } from '../support/world.js'

let world: World
let temporal: TemporalConnection
let witness: Witness
let workers: RunningWorkers

beforeAll(async () => {
  await buildWorkflowBundle()
  const namespace = `anchor-${randomBytes(6).toString('hex')}`
  world = await openWorld({ temporal: true, environment: { ANNALS_TEMPORAL_NAMESPACE: namespace } })
  temporal = await connectTemporal(temporalOptions(world.config))
  witness = await startWitness('witness.example/workflow')
  // Before the worker would: turns of a moment, and a history of three of them.
  await startAnchoring(temporal, 'local', { turnMs: 200, turns: 3 })
  const { core } = world.api
  const { keys } = core.sealing.anchoring
  witness.trust(keys.origin(1), await keys.verifierKeys(1))
  const logger = createLogger('silent')
  workers = await startWorkers({
    config: world.config,
    logger,
    deps: {
      scanRecorder: core.scans.recorder,
      sealing: { ...sealingOf(world, { witnesses: [witness] }), logger },
    },
    queues: ['seal'],
  })
})
afterAll(async () => {
  await workers.stop()
  const ids = Array.from({ length: sealPartitions }, (_, partition) => sealWorkflowId('local', partition))
  for (const id of [...ids, anchorWorkflowId('local')]) {
    await temporal.client.workflow
      .getHandle(id)
      .terminate()
      .catch(() => undefined)
  }
  await temporal.close()
  await witness.stop()
  await world.close()
})

const metadataSchema = z.object({ currentDetails: z.string().optional() })

/** What an operator sees of the workflow, once it holds what is waited for. */
async function detailsWith(text: string): Promise<string> {
  const deadline = Date.now() + 60_000
  for (;;) {
    const handle = temporal.client.workflow.getHandle(anchorWorkflowId('local'))
    const answer: unknown = await handle.query('__temporal_workflow_metadata').catch(() => ({}))
    const { currentDetails = '' } = metadataSchema.parse(answer)
    if (currentDetails.includes(text)) return currentDetails
    if (Date.now() > deadline) throw new Error(`the details never said so, but: ${currentDetails}`)
    await new Promise((done) => setTimeout(done, 100))
  }
}

test('the duties of every minute go on over histories: copies, entries, cosignatures', async () => {
  const { core } = world.api
  await accept(core, 'org_duty', 2)
  const details = await detailsWith('[x] witness witness.example/workflow')
  expect(details).toContain('checkpoints copied (failed: 0)')
  expect(details).toContain('[x] anchor log: 1 entries')
  expect(witness.seen('annals.local/anchor')?.size).toBe(1)
  const first = await temporal.client.workflow.getHandle(anchorWorkflowId('local')).describe()
  const deadline = Date.now() + 60_000
  const copies = copiesOf(world.config)
  while ((await copies.read(copyNameOf('org_duty'))) === undefined) {
    if (Date.now() > deadline) throw new Error('the checkpoint was never copied')
    await new Promise((done) => setTimeout(done, 50))
  }
  for (;;) {
    const now = await temporal.client.workflow.getHandle(anchorWorkflowId('local')).describe()
    if (now.runId !== first.runId) break
    if (Date.now() > deadline) throw new Error('no new history began')
    await new Promise((done) => setTimeout(done, 50))
  }
})

test('a log that is behind its copy is what the operator reads of, and no longer once it is restarted', async () => {
  const { core } = world.api
  await accept(core, 'org_behind', 1)
  const deadline = Date.now() + 60_000
  while ((await core.sealing.store.head('org_behind'))?.size !== 2) {
    if (Date.now() > deadline) throw new Error('the events were never sealed')
    await new Promise((done) => setTimeout(done, 50))
  }
  const head = await core.sealing.store.head('org_behind')
  const text = head?.checkpoint.replace('\n2\n', '\n9\n') ?? ''
  await copiesOf(world.config).write(copyNameOf('org_behind'), text)
  // What was copied is not looked at again until it has grown.
  await accept(core, 'org_behind', 1)
  expect(await detailsWith('**1 logs are behind')).toContain('org_behind')
  const restarting = sealingOf(world)
  for (;;) {
    const done = await restarting.restarter.restart('org_behind').then(
      () => true,
      () => false,
    )
    if (done) break
    if (Date.now() > deadline) throw new Error('the log could not be restarted')
  }
  const calm = async () => !(await detailsWith('checkpoints copied')).includes('behind')
  while (!(await calm())) {
    if (Date.now() > deadline) throw new Error('the details still speak of it')
    await new Promise((done) => setTimeout(done, 100))
  }
})
