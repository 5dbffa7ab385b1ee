import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import type { RunningWorkers } from '../../workers/main.js'
import { rawHits } from '../support/erasure-oracle.js'
import { realSteps, startErasureWorkers } from '../support/erasure-workers.js'
import { startReceiver } from '../support/receiver.js'
import { drainUntilSealed } from '../support/sealing.js'
import { eventually, openErasureWorld, organizationId, type ErasureWorld } from './erasures-world.js'

let world: ErasureWorld
let workers: RunningWorkers | undefined

beforeAll(async () => {
  world = await openErasureWorld({ environment: { ANNALS_WEBHOOK_ALLOW_PRIVATE: 'true' } })
  workers = await startErasureWorkers(world, { steps: realSteps(world.api.core, world.temporal) })
})
afterAll(() => world.close())
afterAll(async () => {
  await workers?.stop()
})

const person = { type: 'user', id: 'u_workflow-3', name: 'Wanda Workflow', email: 'wanda@acme.example' }

test('from the request over HTTP to what remains until the period key is gone, in Temporal, nothing is left', async () => {
  const { core } = world.api
  for (const rest of [{ actor: person }, { description: `for ${person.email}` }]) {
    const answer = await world.request('POST', '/v1/events', {
      body: {
        organizationId,
        action: 'document.opened',
        occurredAt: new Date().toISOString(),
        actor: { type: 'service', id: 'mailer' },
        targets: [],
        ...rest,
      },
    })
    expect(answer.status, answer.text).toBe(201)
  }
  await drainUntilSealed(core, organizationId)
  const receiver = await startReceiver()
  onTestFinished(() => receiver.close())
  const [signing] = await core.delivery.secrets.signing(organizationId)
  receiver.trust(signing?.secret ?? '')
  const id = await world.submit({
    identifiers: [{ kind: 'id', type: 'user', value: person.id }],
    recipients: [{ name: 'the CRM', url: receiver.url }],
  })
  const reaches = (state: string) =>
    eventually(
      async () => (await world.show(id)).state,
      (seen) => seen === state || seen === 'needs_operator',
    )
  await reaches('identity_pending')
  await world.post(`/${id}/verify-identity`, { method: 'passport', result: 'verified' })
  await reaches('review')
  const { scope } = await world.show(id)
  // The directory knows the e-mail that the request did not name.
  expect(scope).toMatchObject({
    freeText: [
      { kind: 'id', hits: 0 },
      { kind: 'email', hits: 1 },
    ],
  })
  expect((await world.post(`/${id}/approve`, {}, { key: world.keys.second })).status).toBe(200)
  await reaches('awaiting_expiry')
  const shown = await world.show(id)
  expect(shown).toMatchObject({
    state: 'awaiting_expiry',
    recipients: [{ position: 0, status: 'acknowledged', attempts: 1, lastStatus: 204 }],
  })
  // The recipient was told whom, after the person was gone here, and once.
  expect([...receiver.taken.keys()]).toEqual([`${id}_0`])
  expect(JSON.parse(receiver.calls[0]?.body ?? '')).toMatchObject({
    type: 'person.erased',
    data: { organizationId, erasureId: id, identifiers: [{ kind: 'id', type: 'user', value: person.id }] },
  })
  expect(await rawHits(core, organizationId, Object.values(person).slice(1))).toEqual([])
  const sealed = await core.events.find({ organizationId, action: /^annals\.subject\./ }).toArray()
  expect(sealed.map(({ action }) => action).sort()).toEqual([
    'annals.subject.erased',
    'annals.subject.erasure_started',
  ])
})
