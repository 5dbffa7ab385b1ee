/** A world with erasure requests: the API, officers, and workers whose erasing steps a test decides. */
import { randomBytes } from 'node:crypto'
import { ApplicationFailure } from '@temporalio/activity'
import { z } from 'zod'
import {
  erasureWorkflowId,
  type CompleteOutcome,
  type ErasingActivities,
  type ErasureReference,
  type FenceOutcome,
  type NotifyOutcome,
  type OperatorReason,
  type ScopeOutcome,
  type VerifyOutcome,
} from '../../src/erasure/contract.js'
import { createLogger } from '../../src/logging.js'
import { openPayload } from '../../src/temporal/codec.js'
import { connectTemporal, temporalOptions, type TemporalConnection } from '../../src/temporal/client.js'
import { buildWorkflowBundle } from '../../workers/bundle.js'
import type { RunningWorkers } from '../../workers/main.js'
import { startErasureWorkers } from '../support/erasure-workers.js'
import { openWorld, type Answer, type World } from '../support/world.js'

export const organizationId = 'org_erasures'
export const principals = {
  first: 'prn_01jd2zq8w9e5cs0v1m6k3n7p4r',
  second: 'prn_01jd2zq8w9e5cs0v1m6k3n7p4s',
  operator: 'prn_01jd2zq8w9e5cs0v1m6k3n7p4t',
} as const

/** What the steps answer; a function may also throw. Changed while a test runs. */
export interface StepAnswers {
  scope: () => ScopeOutcome
  /** `sub_…` that the scope report names. */
  subjects: readonly string[]
  fence: () => FenceOutcome
  prepare: () => void
  erase: () => void
  verify: () => VerifyOutcome
  notify: (request: ErasureReference) => NotifyOutcome | Promise<NotifyOutcome>
  complete: () => CompleteOutcome
  /** Runs before each step, for a test that wants to hold one up. */
  before: (step: keyof ErasingActivities) => Promise<void>
}

export const failure = (reason: OperatorReason, targets: readonly string[] = []): ApplicationFailure =>
  ApplicationFailure.nonRetryable('a step failed', reason, { targets })

export const cleanRun = (): StepAnswers => ({
  scope: () => ({ result: 'matched' }),
  subjects: [],
  fence: () => ({ result: 'fenced' }),
  prepare: () => undefined,
  erase: () => undefined,
  verify: () => ({ result: 'clean' }),
  notify: () => ({ result: 'skipped' }),
  complete: () => ({ result: 'completed' }),
  before: () => Promise.resolve(),
})

const viewSchema = z.looseObject({
  id: z.string(),
  state: z.string(),
  dueAt: z.string(),
  overdue: z.boolean(),
})
const detailSchema = viewSchema.extend({
  recipients: z.array(z.looseObject({ position: z.int(), status: z.string(), attempts: z.int() })),
  evidence: z.array(z.looseObject({ event: z.string(), by: z.string().nullable(), state: z.string() })),
  needsOperator: z.looseObject({ reason: z.string(), targets: z.array(z.string()) }).nullable(),
})
export type ErasureDetail = z.infer<typeof detailSchema>

export interface ErasureWorld extends World {
  readonly temporal: TemporalConnection
  readonly keys: { readonly first: string; readonly second: string; readonly operator: string }
  readonly answers: StepAnswers
  /** Steps that ran, in order, of every request. */
  readonly steps: { readonly step: keyof ErasingActivities; readonly requestId: string }[]
  stepsOf(requestId: string): string[]
  workerLogs(): string
  work(): Promise<RunningWorkers>
  /** As the first officer, unless another key is given. */
  post(
    path: string,
    body?: object,
    options?: { key?: string; headers?: Record<string, string> },
  ): Promise<Answer>
  submit(changes?: object): Promise<string>
  show(id: string): Promise<ErasureDetail>
  /** Actions of the events about a request, in order, without `annals.erasure.`. */
  events(id: string): Promise<string[]>
  /** Submits and takes a request to the state `review`. */
  toReview(changes?: object): Promise<string>
  workflow(id: string): ReturnType<TemporalConnection['client']['workflow']['getHandle']>
}

let people = 0
/** A person that no other test asks for. */
export const somebody = () => ({
  kind: 'id',
  type: 'user',
  value: `u_${String((people += 1))}_${Date.now()}`,
})

export const submission = (changes: object = {}) => ({
  identifiers: [somebody()],
  ground: '17(1)(b)',
  requester: 'the person',
  channel: 'letter',
  receivedAt: new Date().toISOString(),
  ...changes,
})

export interface ErasureWorldOptions {
  readonly environment?: Record<string, string>
  /** Of a server that skips time: namespaces are not registered there, and workers have no versions. */
  readonly timeSkippingAddress?: string
}

/** One for a test file: a namespace of its own, since the task queue's name is published and cannot be another. */
export async function openErasureWorld(options: ErasureWorldOptions = {}): Promise<ErasureWorld> {
  await buildWorkflowBundle()
  const { timeSkippingAddress } = options
  const world = await openWorld({
    temporal: timeSkippingAddress === undefined,
    environment: {
      ANNALS_TEMPORAL_NAMESPACE:
        timeSkippingAddress === undefined ? `erasures-${randomBytes(6).toString('hex')}` : 'default',
      ...(timeSkippingAddress === undefined ? {} : { ANNALS_TEMPORAL_ADDRESS: timeSkippingAddress }),
      ...options.environment,
    },
  })
  const provisioned = await world.request('PUT', `/v1/organizations/${organizationId}`, {
    body: { coolingOffHours: timeSkippingAddress === undefined ? 0 : 24 },
  })
  if (provisioned.status >= 300) throw new Error(`no organization was made: ${provisioned.text}`)

  const { core } = world.api
  const lines: string[] = []
  const logger = createLogger('debug', { write: (line) => void lines.push(line) })
  const temporal = await connectTemporal(temporalOptions(world.config))
  const workers: RunningWorkers[] = []
  const answers = cleanRun()
  const steps: ErasureWorld['steps'] = []

  const step =
    <Outcome>(
      name: keyof ErasingActivities,
      answer: (request: ErasureReference) => Outcome | Promise<Outcome>,
    ) =>
    async (request: ErasureReference): Promise<Outcome> => {
      steps.push({ step: name, requestId: request.requestId })
      await answers.before(name)
      return answer(request)
    }
  const stubs: ErasingActivities = {
    scope: step('scope', async (request) => {
      const opened = await core.erasures.requests.open(request)
      await core.erasures.requests.saveScope(request, {
        scopedAt: new Date(),
        subjects: answers.subjects,
        ambiguousIdentifiers: [],
        certainSubjects: 1,
        targets: [{ target: 'hot_events', status: 'counted', items: 3, held: 0 }],
        freeText: opened.identifiers.map(({ kind }, identifier) => ({
          identifier,
          kind,
          hits: 0,
          joint: 0,
          needsConfirmation: false,
        })),
        earliest: null,
        latest: null,
      })
      return answers.scope()
    }),
    fence: step('fence', () => answers.fence()),
    prepare: step('prepare', () => answers.prepare()),
    erase: step('erase', () => answers.erase()),
    verify: step('verify', () => answers.verify()),
    notify: step('notify', (request) => answers.notify(request)),
    complete: step('complete', () => answers.complete()),
  }
  const officer = (principal: string) =>
    world.key({ role: 'privacy_officer', principal, organizations: [organizationId], personal: true })
  const keys = {
    first: await officer(principals.first),
    second: await officer(principals.second),
    operator: await world.key({ role: 'operator', principal: principals.operator }),
  }
  const base = `/v1/organizations/${organizationId}/erasures`

  const erasureWorld: ErasureWorld = {
    ...world,
    temporal,
    keys,
    answers,
    steps,
    stepsOf: (id) => steps.filter(({ requestId }) => requestId === id).map((one) => one.step),
    workerLogs: () => lines.join(''),
    async work() {
      const running = await startErasureWorkers(world, {
        steps: stubs,
        logger,
        versioning: timeSkippingAddress === undefined ? 'if_none' : 'unversioned',
      })
      workers.push(running)
      return running
    },
    post: (path, body = {}, { key = keys.first, headers = {} } = {}) =>
      world.request('POST', `${base}${path}`, { body, key, headers }),
    async submit(changes) {
      const answer = await erasureWorld.post('', submission(changes))
      if (answer.status !== 202) throw new Error(`it was not taken: ${answer.text}`)
      return viewSchema.parse(answer.body).id
    },
    async show(id) {
      const answer = await world.request('GET', `${base}/${id}`, { key: keys.first })
      return detailSchema.parse(answer.body)
    },
    async events(id) {
      const query = `targetType=erasure&targetId=${id}&limit=100`
      const answer = await world.request('GET', `/v1/organizations/${organizationId}/events?${query}`)
      const { data } = z.object({ data: z.array(z.looseObject({ action: z.string() })) }).parse(answer.body)
      return data.map(({ action }) => action.replace('annals.erasure.', '')).reverse()
    },
    async toReview(changes) {
      const id = await erasureWorld.submit(changes)
      const verified = await erasureWorld.post(`/${id}/verify-identity`, {
        method: 'in person',
        result: 'verified',
      })
      if (verified.status !== 200) throw new Error(`identity was not verified: ${verified.text}`)
      await eventually(
        () => erasureWorld.show(id),
        ({ state }) => state === 'review',
      )
      return id
    },
    workflow: (id) => temporal.client.workflow.getHandle(erasureWorkflowId(organizationId, id)),
    async close() {
      await Promise.all(workers.map((running) => running.stop()))
      await temporal.close()
      await world.close()
    },
  }
  return erasureWorld
}

/** Every payload of a request's history, opened: what somebody reads who has the key of the payloads. */
export async function openedHistory(world: ErasureWorld, id: string): Promise<string[]> {
  const { codecKeys, namespace } = world.temporal
  const open = (value: unknown): string[] => {
    if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return []
    if ('metadata' in value && 'data' in value && value.data instanceof Uint8Array) {
      const metadata = Object.fromEntries(
        Object.entries(value.metadata ?? {}).flatMap(([name, bytes]: [string, unknown]) =>
          bytes instanceof Uint8Array ? [[name, bytes]] : [],
        ),
      )
      const { data } = openPayload({ metadata, data: value.data }, codecKeys, namespace)
      return [Buffer.from(data ?? []).toString('utf8')]
    }
    return Object.values(value).flatMap(open)
  }
  return open(await world.workflow(id).fetchHistory())
}

/** Asks again until it holds. */
export async function eventually<T>(look: () => Promise<T>, holds: (seen: T) => boolean): Promise<T> {
  const deadline = Date.now() + 60_000
  for (;;) {
    const seen = await look()
    if (holds(seen)) return seen
    if (Date.now() > deadline) throw new Error(`it did not come true: ${JSON.stringify(seen)}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
