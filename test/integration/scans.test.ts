import { afterAll, beforeAll, expect, test } from 'vitest'
import { cancelSignal, failSignal, finishSignal, progressSignal } from '../../src/scans/contract.js'
import { scanDetailSchema, scanListSchema, scanViewSchema } from '../../src/scans/schema.js'
import { body, eventually, openScanWorld, organizationId, request, type ScanWorld } from './scans-world.js'

let world: ScanWorld
const path = `/v1/organizations/${organizationId}/scans`

beforeAll(async () => {
  world = await openScanWorld()
  await world.work()
})
afterAll(() => world.close())

async function start(sent: object = { engine: 'test-engine' }, headers: Record<string, string> = {}) {
  const answer = await world.request('POST', path, { body: sent, headers })
  expect(answer.status, answer.text).toBe(201)
  return scanViewSchema.parse(answer.body)
}

const post = (id: string, verb: string, sent: object, headers: Record<string, string> = {}) =>
  world.request('POST', `${path}/${id}/${verb}`, { body: sent, headers })

const detail = async (id: string) =>
  scanDetailSchema.parse((await world.request('GET', `${path}/${id}`)).body)

test('a scan over HTTP leaves one start event and one finish event, and reads back whole', async () => {
  const metadata = { asset: 'db-7', 'dotted.key': { $set: 1, _bsontype: 'ObjectId' }, note: 'ask Jane' }
  const scan = await start({ engine: 'nightly:scanner', expectedWithin: 'PT1H', metadata })
  // The start event is there when the answer is.
  expect(await world.actions(scan.id)).toEqual(['started'])
  expect(scan).toMatchObject({ status: 'running', expectedWithin: 'PT1H', progressTimeout: null, metadata })
  expect(scan.workflowId).toBe(`scan/${organizationId}/${scan.id}`)
  expect(Date.parse(scan.deadlineAt) - Date.parse(scan.startedAt)).toBe(3_600_000)

  const report = { percent: 40, message: 'checking hosts', counts: { hosts: 12 } }
  expect((await post(scan.id, 'progress', report)).status).toBe(202)
  expect((await detail(scan.id)).progress).toMatchObject(report)

  const finding = { severity: 'high', where: { 'a.b': ['x'] } }
  const finish = {
    outcome: 'success',
    findings: [finding],
    link: 'https://scanner.example/r/1',
    counts: { high: 1 },
  }
  expect((await post(scan.id, 'finish', finish)).status).toBe(202)
  await eventually(
    () => world.actions(scan.id),
    (actions) => actions.length === 2,
  )
  const [started, finished] = await world.events(scan.id)
  expect(started).toMatchObject({
    action: 'annals.scan.started',
    category: 'system',
    occurredAt: scan.startedAt,
    actor: { type: 'principal' },
    metadata: { engine: 'nightly:scanner', expectedWithin: 'PT1H', metadata },
  })
  expect(finished).toMatchObject({
    action: 'annals.scan.finished',
    outcome: 'success',
    actor: { type: 'principal' },
    metadata: { status: 'finished', counts: { high: 1 }, link: finish.link },
  })
  expect(finished?.metadata).not.toHaveProperty('late')
  expect(JSON.stringify(finished)).not.toContain('severity')

  expect(await detail(scan.id)).toMatchObject({
    status: 'finished',
    findings: [finding],
    metadata,
    end: { outcome: 'success', late: false, counts: { high: 1 } },
  })
  expect(await world.workflow(scan.id).result()).toEqual({ status: 'finished', late: false })
})

test.each([
  ['fail', 'failed'],
  ['cancel', 'cancelled'],
])('%s ends a scan as %s, with its reason in MongoDB alone', async (verb, status) => {
  const scan = await start()
  expect((await post(scan.id, verb, { reason: 'the host of Jane Doe was away' })).status).toBe(202)
  expect(await world.workflow(scan.id).result()).toEqual({ status, late: false })
  const [, finished] = await world.events(scan.id)
  expect(finished).toMatchObject({ outcome: 'failure', metadata: { status } })
  expect(JSON.stringify(finished)).not.toContain('Jane')
  expect(await detail(scan.id)).toMatchObject({ status, reason: 'the host of Jane Doe was away' })
})

test('the first end stands; the same body or key again is answered again, another is refused', async () => {
  const scan = await start()
  const key = { 'idempotency-key': 'finish-1' }
  const finish = { outcome: 'success', findings: { hosts: 3 } }
  const answers = await Promise.all([1, 2, 3].map(() => post(scan.id, 'finish', finish, key)))
  expect(answers.map(({ status }) => status)).toEqual([202, 202, 202])
  expect((await post(scan.id, 'finish', finish)).status).toBe(202)
  expect((await post(scan.id, 'finish', { outcome: 'failure' }, key)).status).toBe(202)
  const refused = await post(scan.id, 'finish', { outcome: 'failure' })
  expect(refused.status).toBe(409)
  expect(refused.body).toMatchObject({ code: 'already_finished' })
  expect((await post(scan.id, 'fail', { reason: 'no' })).status).toBe(409)
  expect((await post(scan.id, 'progress', { percent: 1 })).status).toBe(409)

  await world.workflow(scan.id).result()
  expect(await world.actions(scan.id)).toEqual(['started', 'finished'])
  const findings = world.api.core.db.collection('scanFindings')
  expect(await findings.countDocuments({ scanId: scan.id })).toBe(1)
})

test('published signals drive a scan: progress, then the first end', async () => {
  const scan = await start()
  const workflow = world.workflow(scan.id)
  await workflow.signal(progressSignal, { percent: 10, counts: { hosts: 1 } })
  await eventually(
    () => detail(scan.id),
    ({ progress }) => progress?.percent === 10,
  )
  const end = { outcome: 'failure', counts: { hosts: 5 }, link: 'https://scanner.example/r/2' }
  await workflow.signal(finishSignal, end)
  await workflow.signal(failSignal).catch(() => undefined)
  await workflow.signal(cancelSignal).catch(() => undefined)
  expect(await workflow.result()).toEqual({ status: 'finished', late: false })
  expect(await world.actions(scan.id)).toEqual(['started', 'finished'])
  const [, finished] = await world.events(scan.id)
  expect(finished).toMatchObject({
    outcome: 'failure',
    actor: { type: 'system', id: 'annals' },
    metadata: { status: 'finished', counts: end.counts, link: end.link },
  })
})

test('an end over HTTP and one by signal at once leave one finish event, of whichever came first', async () => {
  const scan = await start()
  const [answer] = await Promise.all([
    post(scan.id, 'finish', { outcome: 'success' }),
    world.workflow(scan.id).signal(failSignal),
  ])
  await world.workflow(scan.id).result()
  expect(await world.actions(scan.id)).toEqual(['started', 'finished'])
  const { end } = await detail(scan.id)
  expect(end?.status).toBe(answer.status === 202 ? 'finished' : 'failed')
  const [, finished] = await world.events(scan.id)
  expect(finished?.metadata['status']).toBe(end?.status)
})

test('rubbish signals neither fail nor wedge the workflow, and the operator sees how many there were', async () => {
  const scan = await start()
  const workflow = world.workflow(scan.id)
  for (const rubbish of [
    undefined,
    null,
    17,
    'x',
    [],
    { outcome: 'perhaps' },
    { outcome: 'success', link: 1 },
  ]) {
    await workflow.signal(finishSignal, rubbish)
  }
  await workflow.signal(progressSignal, { percent: 'half' })
  await workflow.signal('annals.scan.unheard-of', { outcome: 'success' })
  await rawSignal(scan.workflowId, finishSignal, 'json/plain', '{"outcome":')
  await rawSignal(scan.workflowId, finishSignal, 'binary/who-knows', 'x')
  await rawSignal(scan.workflowId, finishSignal, undefined, undefined)
  const shown = await eventually(
    () => currentDetails(scan.workflowId),
    (details) => details.includes('11 malformed') && details.includes('- [x] started'),
  )
  expect(shown).toContain('- [ ] finished')

  // A plain sender, without the codec, is understood.
  await rawSignal(scan.workflowId, finishSignal, 'json/plain', '{"outcome":"success"}')
  expect(await workflow.result()).toEqual({ status: 'finished', late: false })
})

test('an operator finds a scan by its attributes and reads what it is about', async () => {
  const scan = await start({ engine: 'visible-engine', expectedWithin: 'PT2H' })
  const described = await world.workflow(scan.id).describe()
  expect(await described.staticSummary()).toBe(`Scan by visible-engine for ${organizationId}`)
  const query = `AnnalsOrganization = '${organizationId}' AND AnnalsKind = 'scan' AND AnnalsPhase = 'running' AND AnnalsDeadline > '${scan.startedAt}'`
  const ids = await eventually(
    () => listIds(query),
    (found) => found.includes(scan.workflowId),
  )
  expect(ids).toContain(scan.workflowId)
  await world.workflow(scan.id).signal(cancelSignal)
  await world.workflow(scan.id).result()
  await eventually(
    () => listIds(`AnnalsPhase = 'cancelled'`),
    (found) => found.includes(scan.workflowId),
  )
})

test('a workflow that an operator cancels in Temporal ends its scan', async () => {
  const scan = await start()
  await world.workflow(scan.id).cancel()
  await expect(world.workflow(scan.id).result()).rejects.toThrow()
  expect(await world.actions(scan.id)).toEqual(['started', 'finished'])
  expect(await detail(scan.id)).toMatchObject({ status: 'cancelled' })
})

test('a repeat of the idempotency key answers the same scan, another body is a conflict', async () => {
  const headers = { 'idempotency-key': 'start-1' }
  const sent = { engine: 'test-engine', metadata: { a: 1, b: { c: 2 } } }
  const first = await world.request('POST', path, { body: sent, headers })
  expect(first.status).toBe(201)
  const scan = scanViewSchema.parse(first.body)
  await post(scan.id, 'progress', { percent: 50 })
  const again = await world.request('POST', path, {
    body: { metadata: { b: { c: 2 }, a: 1 }, engine: 'test-engine' },
    headers,
  })
  expect(again.status).toBe(200)
  expect(again.headers.get('idempotency-replayed')).toBe('true')
  expect(again.body).toEqual(first.body)
  const other = await world.request('POST', path, { body: { engine: 'test-engine' }, headers })
  expect(other.status).toBe(409)
  expect(other.body).toMatchObject({ code: 'idempotency_conflict' })
  expect(await world.actions(scan.id)).toEqual(['started'])
})

test('requests at once under one idempotency key start one scan', async () => {
  const headers = { 'idempotency-key': 'start-at-once' }
  const answers = await Promise.all(
    [1, 2, 3, 4].map(() => world.request('POST', path, { body: { engine: 'test-engine' }, headers })),
  )
  expect(answers.filter(({ status }) => status === 201)).toHaveLength(1)
  expect(answers.filter(({ status }) => status === 200)).toHaveLength(3)
  expect(new Set(answers.map(({ text }) => text)).size).toBe(1)
  expect(await world.actions(scanViewSchema.parse(answers[0]?.body).id)).toEqual(['started'])
})

test('scans are listed newest first, page by page, by engine and status', async () => {
  const engine = 'listed-engine'
  const ids: string[] = []
  for (let index = 0; index < 5; index += 1) ids.push((await start({ engine })).id)
  const seen: string[] = []
  let cursor: string | null = ''
  while (cursor !== null) {
    const page = await world.request(
      'GET',
      `${path}?engine=${engine}&limit=2${cursor === '' ? '' : `&cursor=${cursor}`}`,
    )
    const { data, nextCursor } = scanListSchema.parse(page.body)
    expect(data.length).toBeLessThanOrEqual(2)
    seen.push(...data.map(({ id }) => id))
    cursor = nextCursor
    if (cursor !== null) {
      const elsewhere = await world.request('GET', `${path}?engine=other&limit=2&cursor=${cursor}`)
      expect(elsewhere.body).toMatchObject({ code: 'cursor_invalid' })
    }
  }
  expect(seen).toEqual(ids.reverse())
  const none = await world.request('GET', `${path}?engine=${engine}&status=finished`)
  expect(scanListSchema.parse(none.body)).toEqual({ data: [], nextCursor: null })
})

test.each([
  [{}, 'engine', 'missing'],
  [{ engine: 'jane@acme.example' }, 'engine', 'malformed_value'],
  [{ engine: 'a', expectedWithin: 'P1M' }, 'expectedWithin', 'malformed_value'],
  [{ engine: 'a', expectedWithin: 'PT0.5S' }, 'expectedWithin', 'too_small'],
  [{ engine: 'a', expectedWithin: 'P31D' }, 'expectedWithin', 'too_large'],
  [{ engine: 'a', metadata: [] }, 'metadata', 'malformed_value'],
  [{ engine: 'a', more: 1 }, 'more', 'unknown_field'],
  [{ engine: 'a', metadata: { x: '\uD800' } }, 'metadata.x', 'lone_surrogate'],
])('a start of %j is refused at %s as %s', async (sent, place, code) => {
  const before = await world.api.core.db.collection('scans').countDocuments()
  const answer = await world.request('POST', path, { body: sent })
  expect(answer.status, answer.text).toBe(422)
  expect(answer.body).toMatchObject({ code: 'invalid', errors: [{ path: place, code }] })
  expect(await world.api.core.db.collection('scans').countDocuments()).toBe(before)
})

test('__proto__ is refused, whatever Zod thinks of it', async () => {
  const answer = await world.request('POST', path, {
    body: '{"engine":"a","metadata":{"__proto__":{"x":1}}}',
  })
  expect(answer.body).toMatchObject({ errors: [{ path: 'metadata.__proto__', code: 'forbidden_key' }] })
})

test("another organization's scan, an id of another form and an unknown scan are the same 404", async () => {
  const scan = await start()
  await world.request('PUT', '/v1/organizations/org_other', { body: {} })
  const unknown = scan.id.replace(/.{4}$/, '0000')
  const answers = await Promise.all([
    world.request('GET', `/v1/organizations/org_other/scans/${scan.id}`),
    world.request('GET', `${path}/${unknown}`),
    world.request('GET', `${path}/nonsense`),
    world.request('POST', `${path}/${unknown}/finish`, { body: { outcome: 'success' } }),
  ])
  const bodies = answers.map(({ text, headers }) => text.replace(headers.get('x-request-id') ?? '', ''))
  expect(answers.map(({ status }) => status)).toEqual([404, 404, 404, 404])
  expect(new Set(bodies).size).toBe(1)
})

test('readers read, ingest writes, and neither does the other', async () => {
  const scan = await start()
  const ingest = await world.key({ role: 'ingest' })
  const auditor = await world.key({ role: 'auditor', principal: 'prn_01jd2zq8w9e5cs0v1m6k3n7p4r' })
  const statusOf = async (key: string, method: string, at: string, sent?: object) =>
    (await world.request(method, at, { key, ...(sent === undefined ? {} : { body: sent }) })).status
  expect(await statusOf(ingest, 'GET', `${path}/${scan.id}`)).toBe(403)
  expect(await statusOf(auditor, 'POST', path, { engine: 'a' })).toBe(403)
  expect(await statusOf(auditor, 'GET', `${path}/${scan.id}`)).toBe(200)
  expect(await statusOf(ingest, 'POST', `${path}/${scan.id}/finish`, { outcome: 'success' })).toBe(202)
})

test('a progress report is signalled at most once a second, and the last one is stored', async () => {
  const { scan } = await world.scans.start(request, body())
  for (let percent = 1; percent <= 40; percent += 1) await world.scans.progress(request, scan.id, { percent })
  expect((await detail(scan.id)).progress?.percent).toBe(40)
  const { events } = await world.workflow(scan.id).fetchHistory()
  const signals = (events ?? []).filter((event) => event.workflowExecutionSignaledEventAttributes)
  expect(signals.length).toBeLessThanOrEqual(3)
})

async function rawSignal(
  workflowId: string,
  signalName: string,
  encoding: string | undefined,
  data: string | undefined,
): Promise<void> {
  await world.temporal.connection.workflowService.signalWorkflowExecution({
    namespace: world.temporal.namespace,
    workflowExecution: { workflowId },
    signalName,
    input: {
      payloads: [
        {
          metadata: encoding === undefined ? {} : { encoding: Buffer.from(encoding) },
          ...(data === undefined ? {} : { data: Buffer.from(data) }),
        },
      ],
    },
  })
}

async function currentDetails(workflowId: string): Promise<string> {
  const metadata = await world.temporal.client.workflow
    .getHandle(workflowId)
    .query<{ currentDetails?: string }>('__temporal_workflow_metadata')
  return metadata.currentDetails ?? ''
}

async function listIds(query: string): Promise<string[]> {
  const ids: string[] = []
  for await (const { workflowId } of world.temporal.client.workflow.list({ query })) ids.push(workflowId)
  return ids
}
