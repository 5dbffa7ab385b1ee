/**
 * The workflow code of today against the histories of yesterday: a request lasts for months, and goes on under the code
 * of every deployment meanwhile. A change that it could not follow fails here and needs a patch.
 *
 * To record: delete a history and run this test, twice; the first run writes it and fails.
 */
import { beforeAll, expect, test } from 'vitest'
import { erasureTaskQueue, erasureWorkflowId, erasureWorkflowType } from '../../src/erasure/contract.js'
import { idForKey } from '../../src/events/intake.js'
import { buildWorkflowBundle } from '../../workers/bundle.js'
import {
  cleanRun,
  eventually,
  failure,
  openErasureWorld,
  organizationId,
  submission,
  type ErasureWorld,
} from '../integration/erasures-world.js'
import { isMissing, readRecording, recordingEnvironment, replay, writeRecording } from './recordings.js'

interface Scenario {
  /** Of the submission. */
  readonly changes?: object
  readonly historyEvents?: number
  run(world: ErasureWorld, id: string): Promise<void>
}

const reaches = (world: ErasureWorld, id: string, state: string) =>
  eventually(
    () => world.show(id),
    (seen) => seen.state === state,
  )
/** As often as it takes: a worker that has just begun may be slow to answer. */
const post = (world: ErasureWorld, id: string, action: string, body: object, key = world.keys.second) =>
  eventually(
    () =>
      world.post(`/${id}/${action}`, body, {
        key,
        headers: { 'idempotency-key': `${id}/${action}/${JSON.stringify(body)}` },
      }),
    ({ status }) => status < 300,
  )
const verify = (world: ErasureWorld, id: string) =>
  post(world, id, 'verify-identity', { method: 'call', result: 'verified' })
async function approve(world: ErasureWorld, id: string): Promise<void> {
  await verify(world, id)
  await reaches(world, id, 'review')
  await post(world, id, 'approve', {})
}

const scenarios: Readonly<Record<string, Scenario>> = {
  'erasure-completed': { run: (world, id) => approve(world, id) },
  'erasure-overdue-extended-too-late-and-denied': {
    changes: { receivedAt: new Date(Date.now() - 40 * 86_400_000).toISOString() },
    async run(world, id) {
      await verify(world, id)
      await reaches(world, id, 'review')
      await post(world, id, 'deny', { ground: '17(3)(e)', note: 'claims' })
    },
  },
  'erasure-reminded-extended-and-withdrawn': {
    changes: { receivedAt: new Date(Date.now() - 20 * 86_400_000).toISOString() },
    async run(world, id) {
      await post(world, id, 'extend', { reason: 'many records' })
      await post(world, id, 'withdraw', {})
    },
  },
  'erasure-without-a-match': {
    async run(world, id) {
      world.answers.scope = () => ({ result: 'no_match' })
      await verify(world, id)
    },
  },
  'erasure-with-residue-retried': {
    async run(world, id) {
      let left = true
      world.answers.verify = () =>
        left ? { result: 'residue', targets: ['hot_events'] } : { result: 'clean' }
      await approve(world, id)
      await reaches(world, id, 'needs_operator')
      left = false
      await post(world, id, 'retry', {}, world.keys.operator)
    },
  },
  'erasure-stopped-and-retried': {
    async run(world, id) {
      world.answers.erase = () => {
        throw failure('archive_unavailable', ['archive_content'])
      }
      await approve(world, id)
      await reaches(world, id, 'needs_operator')
      world.answers.erase = () => undefined
      await post(world, id, 'retry', {}, world.keys.operator)
    },
  },
  'erasure-held-and-withdrawn': {
    async run(world, id) {
      world.answers.fence = () => ({ result: 'held' })
      await approve(world, id)
      await reaches(world, id, 'on_hold')
      await post(world, id, 'withdraw', {})
    },
  },
  'erasure-waiting-for-expiry': {
    async run(world, id) {
      let looks = 0
      world.answers.complete = () => {
        looks += 1
        const until = new Date(Date.now() + 1_000).toISOString()
        return looks < 3 ? { result: 'waiting', until } : { result: 'completed_with_exceptions' }
      }
      await approve(world, id)
    },
  },
  'erasure-waiting-for-recipients': {
    async run(world, id) {
      let calls = 0
      world.answers.notify = () => {
        calls += 1
        const until = new Date(Date.now() + 1_000).toISOString()
        return calls < 3 ? { result: 'waiting', until } : { result: 'notified' }
      }
      await approve(world, id)
    },
  },
  'erasure-with-cut-histories': {
    historyEvents: 10,
    async run(world, id) {
      await verify(world, id)
      await reaches(world, id, 'review')
      for (const target of ['log_1', 'log_2', 'log_3']) {
        await post(world, id, 'attest', { target, statement: 'nothing' })
      }
      await post(world, id, 'approve', {})
    },
  },
}

const missing = Object.keys(scenarios).filter(isMissing)

beforeAll(async () => {
  await buildWorkflowBundle()
  if (missing.length > 0) await record(missing)
})

test('every scenario has its recorded history', () => {
  expect(missing).toEqual([])
})

test('a history that the code of today would not make is refused', async () => {
  const edited = await readRecording('erasure-completed', (text) => text.replaceAll('"prepare"', '"other"'))
  await expect(replay(edited)).rejects.toThrow()
})

test.each(Object.keys(scenarios))('%s replays', async (name) => {
  await replay(await readRecording(name))
})

/** One after the other: what the steps answer is the world's. */
async function record(names: readonly string[]): Promise<void> {
  const world = await openErasureWorld({ environment: recordingEnvironment })
  await world.work()
  for (const name of names) {
    Object.assign(world.answers, cleanRun())
    await recordOne(world, name)
  }
}

async function recordOne(world: ErasureWorld, name: string): Promise<void> {
  const scenario = scenarios[name]
  if (scenario === undefined) throw new Error(`there is no scenario ${name}`)
  const { keyset } = await world.api.core.eventOrganizations.require(organizationId)
  const requestId = idForKey(keyset, 'erasure', `erasure/submit\0${name}`)
  const workflowId = erasureWorkflowId(organizationId, requestId)
  const { historyEvents } = scenario
  const { firstExecutionRunId } = await world.temporal.client.workflow.start(erasureWorkflowType, {
    workflowId,
    taskQueue: erasureTaskQueue,
    args: [
      {
        request: { organizationId, requestId },
        ...(historyEvents === undefined ? {} : { historyEvents }),
      },
    ],
  })
  // The API finds the workflow of this id, and leaves it as it is.
  await world.post('', submission(scenario.changes), { headers: { 'idempotency-key': name } })
  await scenario.run(world, requestId)
  await world.workflow(requestId).result()
  await writeRecording(name, world.temporal, workflowId, firstExecutionRunId)
}
