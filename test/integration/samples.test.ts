import { afterAll, beforeAll, expect, test } from 'vitest'
import type { JsonObject } from '../../src/events/contract.js'
import { isPersonActor, isPersonTarget } from '../../src/subjects/policy.js'
import { defaultPersonTypes } from '../../src/organizations/contract.js'
import { allSamples, chunks, expectedView, withoutAdditions } from '../support/samples.js'
import { checkWorldsSearch } from '../support/search-oracle.js'
import { openWorld, type World } from '../support/world.js'

interface BatchAnswer {
  readonly results: readonly {
    index: number
    status: number
    id: string
    leafHash: string
    replayed?: boolean
  }[]
}

let world: World
const samples = allSamples().map((event, index) => ({ event, idempotencyKey: `sample-${String(index)}` }))
const answers: BatchAnswer['results'][number][] = []

async function postAll(): Promise<BatchAnswer['results'][number][]> {
  const results: BatchAnswer['results'][number][] = []
  for (const batch of chunks(samples, 500)) {
    const events = batch.map(({ event, idempotencyKey }) => ({ ...event, idempotencyKey }))
    const answer = await world.request('POST', '/v1/events/batch', { body: { events } })
    expect(answer.status).toBe(200)
    results.push(...(answer.body as BatchAnswer).results)
  }
  return results
}

beforeAll(async () => {
  world = await openWorld()
  answers.push(...(await postAll()))
})
afterAll(async () => {
  await checkWorldsSearch(world)
  await world.close()
})

test('all samples are taken by batch', () => {
  expect(answers).toHaveLength(samples.length)
  expect(answers.filter(({ status }) => status !== 201)).toEqual([])
})

test('each sample reads back equal to what was sent, with the grant', async () => {
  for (const batch of chunks(
    samples.map((sample, index) => ({ ...sample, answer: answers[index] })),
    16,
  )) {
    await Promise.all(
      batch.map(async ({ event, answer }) => {
        const path = `/v1/organizations/${event.organizationId}/events/${answer?.id ?? ''}`
        const read = await world.request('GET', path)
        expect(withoutAdditions(read.body as JsonObject)).toEqual(expectedView(event))
        expect((read.body as JsonObject)['leafHash']).toBe(answer?.leafHash)
      }),
    )
  }
})

test('each sample reads back masked without the grant', async () => {
  const auditor = await world.key({ role: 'auditor', principal: 'prn_01h455vb4pex5vsknk084sn02q' })
  for (const { event, answer } of samples.map((sample, index) => ({ ...sample, answer: answers[index] }))) {
    const path = `/v1/organizations/${event.organizationId}/events/${answer?.id ?? ''}`
    const { body } = await world.request('GET', path, { key: auditor })
    const view = body as JsonObject & { actor: JsonObject; targets: JsonObject[]; context: JsonObject }
    if (isPersonActor(event.actor.type)) {
      expect(view.actor).toEqual({
        type: event.actor.type,
        subject: expect.stringMatching(/^sub_/) as string,
        masked: true,
      })
      expect(Object.keys(view.context).filter((name) => name !== 'requestId')).toEqual([])
    } else {
      expect(view.actor).toEqual(event.actor)
    }
    event.targets.forEach((target, index) => {
      const masked = isPersonTarget(target.type, defaultPersonTypes)
      if (masked) expect(Object.keys(view.targets[index] ?? {}).sort()).toEqual(['masked', 'subject', 'type'])
      else expect(view.targets[index]).toEqual(target)
    })
    expect(view['metadata']).toEqual(event.metadata)
  }
})

test('sending all twice stores nothing twice', async () => {
  const count = () => world.api.core.events.countDocuments({ category: { $ne: 'system' } })
  const before = await count()
  const again = await postAll()
  expect(await count()).toBe(before)
  expect(before).toBe(samples.length)
  expect(again.map(({ id, leafHash, replayed }) => ({ id, leafHash, replayed }))).toEqual(
    answers.map(({ id, leafHash }) => ({ id, leafHash, replayed: true })),
  )
})
