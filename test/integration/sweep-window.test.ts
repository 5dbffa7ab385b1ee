/** How a sweep hands out its places, on a real Temporal: with stand-ins for what archives. */
import { randomBytes } from 'node:crypto'
import { NativeConnection, Worker } from '@temporalio/worker'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import type { ExpiryActivities } from '../../activities/expiry.js'
import type { RetentionActivities } from '../../activities/retention.js'
import { sweepWorkflowType, type ArchiveInput, type SweepInput } from '../../src/retention/contract.js'
import { connectTemporal, temporalOptions, type TemporalConnection } from '../../src/temporal/client.js'
import { buildWorkflowBundle } from '../../workers/bundle.js'
import { bundlePaths } from '../../workers/paths.js'
import { openWorld, type World } from '../support/world.js'

let world: World
let temporal: TemporalConnection
let connection: NativeConnection

beforeAll(async () => {
  await buildWorkflowBundle()
  const namespace = `window-${randomBytes(6).toString('hex')}`
  world = await openWorld({ temporal: true, environment: { ANNALS_TEMPORAL_NAMESPACE: namespace } })
  temporal = await connectTemporal(temporalOptions(world.config))
  connection = await NativeConnection.connect({ address: temporalOptions(world.config).address })
})
afterAll(async () => {
  await connection.close()
  await temporal.close()
  await world.close()
})

/** Organizations with so many segments each; what one is archived with waits for `hold`. */
class StandIn {
  readonly left: Map<string, number>
  readonly order: string[] = []
  readonly #open = new Map<string, number>()
  most = 0
  doubled = 0

  constructor(
    segments: Readonly<Record<string, number>>,
    readonly hold: (organizationId: string) => Promise<void> = () => Promise.resolve(),
  ) {
    this.left = new Map(Object.entries(segments))
  }

  get activities(): RetentionActivities & Pick<ExpiryActivities, 'findExpired' | 'findExpiredOf'> {
    const range = (organizationId: string): ArchiveInput => {
      const from = this.left.get(organizationId) ?? 0
      // Ids of workflows: each segment has its own, of every test.
      return { organizationId, generation: 1, from, to: from + 1 }
    }
    const due = () => [...this.left].flatMap(([id, left]) => (left > 0 ? [id] : [])).sort()
    const nothing = () => Promise.resolve()
    return {
      findDue: (_asOf, after, limit) => {
        const found = due().filter((id) => after === null || id > after)
        const page = found.slice(0, limit)
        return Promise.resolve({
          ranges: page.map(range),
          next: found.length > limit ? (page.at(-1) ?? null) : null,
        })
      },
      findDueOf: (_asOf, id) =>
        Promise.resolve({ ranges: due().includes(id) ? [range(id)] : [], next: null }),
      beginArchive: () => Promise.resolve('run_1'),
      exportSegment: async ({ organizationId }) => {
        const open = (this.#open.get(organizationId) ?? 0) + 1
        this.#open.set(organizationId, open)
        if (open > 1) this.doubled += 1
        this.most = Math.max(
          this.most,
          [...this.#open.values()].reduce((sum, one) => sum + one, 0),
        )
        await this.hold(organizationId)
        return 'recorded'
      },
      verifySegment: nothing,
      recordSegment: nothing,
      deleteHot: ({ organizationId }) => {
        this.left.set(organizationId, (this.left.get(organizationId) ?? 1) - 1)
        this.order.push(organizationId)
        this.#open.set(organizationId, (this.#open.get(organizationId) ?? 1) - 1)
        return Promise.resolve({ counts: {}, bytes: {} })
      },
      noteStep: () => Promise.resolve(undefined),
      finishArchive: () => Promise.resolve(undefined),
      stopArchive: nothing,
      findExpired: () => Promise.resolve({ segments: [], next: null }),
      findExpiredOf: () => Promise.resolve({ segments: [], next: null }),
    }
  }
}

/** Runs a worker over the stand-in until the test ends. */
async function sweepOver(standIn: StandIn, input: SweepInput = {}) {
  const taskQueue = `sweep-${randomBytes(6).toString('hex')}`
  const worker = await Worker.create({
    connection,
    namespace: temporal.namespace,
    dataConverter: temporal.dataConverter,
    workflowBundle: { codePath: bundlePaths.bundle },
    taskQueue,
    activities: standIn.activities,
  })
  const running = worker.run()
  onTestFinished(async () => {
    worker.shutdown()
    await running
  })
  return temporal.client.workflow.start(sweepWorkflowType, {
    workflowId: taskQueue,
    taskQueue,
    args: [input],
  })
}

const named = (names: readonly string[]) =>
  names.map((name) => `org_${name}_${randomBytes(4).toString('hex')}`)

test('a slow segment holds up its own organization and no other', async () => {
  const [slow = '', many = '', one = ''] = named(['a_slow', 'b_many', 'c_one'])
  let release: () => void = () => undefined
  const released = new Promise<void>((resolve) => (release = resolve))
  const standIn = new StandIn({ [slow]: 2, [many]: 4, [one]: 1 }, (id) =>
    id === slow ? released : Promise.resolve(),
  )
  const sweep = await sweepOver(standIn)
  await expect.poll(() => [...standIn.left.values()]).toEqual([2, 0, 0])
  release()
  expect(await sweep.result()).toEqual({ failed: 0 })
  expect([...standIn.left.values()]).toEqual([0, 0, 0])
  expect(standIn.doubled).toBe(0)
})

test('each organization has its turn before a huge one has its second', async () => {
  const [huge = '', ...others] = named(['a_huge', 'b', 'c', 'd'])
  const standIn = new StandIn({ [huge]: 5, ...Object.fromEntries(others.map((id) => [id, 1])) })
  await (await sweepOver(standIn)).result()
  const turns = standIn.order.flatMap((id, at) => (id === huge ? [at] : []))
  expect(turns).toHaveLength(5)
  expect(turns.slice(2).every((at) => at >= others.length)).toBe(true)
})

test('histories of a sweep are bounded, and the next one goes on where one ended', async () => {
  const ids = named(['a', 'b', 'c'])
  const standIn = new StandIn(Object.fromEntries(ids.map((id) => [id, 4])))
  const sweep = await sweepOver(standIn, { segments: 5 })
  expect(await sweep.result()).toEqual({ failed: 0 })
  expect([...standIn.left.values()]).toEqual([0, 0, 0])
  const first = await temporal.client.workflow
    .getHandle(sweep.workflowId, sweep.firstExecutionRunId)
    .describe()
  expect(first.status.name).toBe('CONTINUED_AS_NEW')
})

test('no more run at once than may, and the next one has the first place that is free', async () => {
  const ids = named(Array.from({ length: 9 }, (_, at) => String(at)))
  const waiting = new Map<string, () => void>()
  const standIn = new StandIn(
    Object.fromEntries(ids.map((id) => [id, 1])),
    (id) => new Promise<void>((resolve) => waiting.set(id, resolve)),
  )
  const sweep = await sweepOver(standIn, { atOnce: 8 })
  const releaseAll = () => waiting.forEach((release) => release())
  onTestFinished(releaseAll)
  await expect.poll(() => waiting.size).toBe(8)
  const last = ids[8] ?? ''
  expect(waiting.has(last)).toBe(false)
  waiting.get(ids[4] ?? '')?.()
  await expect.poll(() => waiting.has(last)).toBe(true)
  releaseAll()
  expect(await sweep.result()).toEqual({ failed: 0 })
  expect(standIn.most).toBe(8)
  expect([...standIn.left.values()].every((left) => left === 0)).toBe(true)
})
