import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { erasureTaskQueue, erasureWorkflowId, erasureWorkflowType } from '../../src/erasure/contract.js'
import { idForKey } from '../../src/events/intake.js'
import {
  eventually,
  openErasureWorld,
  organizationId,
  submission,
  type ErasureWorld,
} from './erasures-world.js'

let world: ErasureWorld

beforeAll(async () => {
  world = await openErasureWorld()
  await world.work()
})
afterAll(() => world.close())

/** A request whose workflow begins a new history after so many events. */
async function submittedWith(historyEvents: number, key: string): Promise<string> {
  const { keyset } = await world.api.core.eventOrganizations.require(organizationId)
  const requestId = idForKey(keyset, 'erasure', `erasure/submit\0${key}`)
  // The API finds the workflow of this id, and leaves it as it is.
  await world.temporal.client.workflow.start(erasureWorkflowType, {
    workflowId: erasureWorkflowId(organizationId, requestId),
    taskQueue: erasureTaskQueue,
    args: [{ request: { organizationId, requestId }, historyEvents }],
  })
  const answer = await world.post('', submission(), { headers: { 'idempotency-key': key } })
  expect(answer).toMatchObject({ status: 202, body: { id: requestId } })
  return requestId
}

test('no action is lost and none counts twice while the history is cut again and again', async () => {
  const id = await submittedWith(10, 'cut-often')
  await world.post(`/${id}/verify-identity`, { method: 'call', result: 'verified' })
  await eventually(
    () => world.show(id),
    ({ state }) => state === 'review',
  )
  const targets = Array.from({ length: 12 }, (_, index) => `log_${String(index)}`)
  // As a client does: where the answer is 503, the same again under the same key.
  const ask = (target: string) =>
    eventually(
      () =>
        world.post(
          `/${id}/attest`,
          { target, statement: 'nothing there' },
          { headers: { 'idempotency-key': target } },
        ),
      ({ status }) => status !== 503,
    )
  const answers = await Promise.all(targets.flatMap((target) => [ask(target), ask(target)]))
  expect(answers.filter(({ status }) => status !== 200)).toEqual([])
  const { attestations } = (await world.show(id)) as unknown as { attestations: { target: string }[] }
  expect(attestations.map(({ target }) => target).sort()).toEqual([...targets].sort())

  const runs = new Set<string>()
  await eventually(
    async () => {
      const query = `WorkflowId = '${erasureWorkflowId(organizationId, id)}'`
      for await (const { runId } of world.temporal.client.workflow.list({ query })) runs.add(runId)
      return runs.size
    },
    (size) => size > 1,
  )
  const approved = await world.post(`/${id}/approve`, {}, { key: world.keys.second })
  expect(approved.status).toBe(200)
  await eventually(
    () => world.show(id),
    ({ state }) => state === 'completed',
  )
})

test('a workflow that somebody terminated is started again by the next action: the request is what is true', async () => {
  const id = await world.toReview()
  await world.workflow(id).terminate('by mistake')
  const approved = await world.post(`/${id}/approve`, {}, { key: world.keys.second })
  expect(approved.status).toBe(200)
  await eventually(
    () => world.show(id),
    ({ state }) => state === 'completed',
  )
})

test('cancelling the workflow in Temporal takes no request back: that is what withdrawing is for', async () => {
  const id = await world.toReview()
  await world.workflow(id).cancel()
  const withdrawn = await world.post(`/${id}/withdraw`)
  expect(withdrawn.status).toBe(200)
  expect(await world.workflow(id).result()).toEqual({ state: 'withdrawn' })
})

test('a workflow that another program began without a request ends, and one of another id is refused', async () => {
  const start = (workflowId: string, request: object) =>
    world.temporal.client.workflow.start(erasureWorkflowType, {
      workflowId,
      taskQueue: erasureTaskQueue,
      args: [{ request }],
    })
  const id = 'erasure_01kaxa2v8ve5cv9sc8ff5fs8ac'
  const strange = await start('erasure/org_x/other', { organizationId: 'org_x', requestId: id })
  await expect(strange.result()).rejects.toThrow()
})

test('while no worker is there a request is taken and an action is not; it counts once when it comes again', async () => {
  const quiet = await openErasureWorld()
  onTestFinished(() => quiet.close())
  const id = await quiet.submit()
  const headers = { 'idempotency-key': 'verify' }
  const body = { method: 'call', result: 'verified' }
  const refused = await quiet.post(`/${id}/verify-identity`, body, { headers })
  expect(refused).toMatchObject({ status: 503, body: { code: 'temporal_unavailable' } })
  expect(refused.headers.get('retry-after')).toBe('5')
  await quiet.work()
  await eventually(
    () => quiet.post(`/${id}/verify-identity`, body, { headers }),
    ({ status }) => status === 200,
  )
  await eventually(
    () => quiet.show(id),
    ({ state }) => state === 'review',
  )
  const { evidence } = await quiet.show(id)
  expect(evidence.filter(({ event }) => event === 'identity_verified')).toHaveLength(1)
})
