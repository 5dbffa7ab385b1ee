/**
 * Redactions and offboardings against the histories of yesterday: both may wait for years, and go on under the code of the
 * next deployment. A change that they could not follow fails here and needs a patch.
 *
 * To record: delete a history and run this test, twice; the first run writes it and fails. The activities are stand-ins
 * that do what the scenario is about.
 */
import { ApplicationFailure } from '@temporalio/activity'
import type { WorkflowHandle } from '@temporalio/client'
import { beforeAll, expect, test } from 'vitest'
import type { OffboardingActivities } from '../../activities/offboarding.js'
import type { RedactionActivities } from '../../activities/redaction.js'
import {
  holdReleasedSignal,
  releaseKeptWorkflowId,
  releaseKeptWorkflowType,
  type ReleaseKeptInput,
  type ReleasingActivities,
} from '../../src/erasure/contract.js'
import {
  offboardingInterruption,
  offboardingWakeSignal,
  offboardingWorkflowId,
  offboardingWorkflowType,
  type OffboardingState,
} from '../../src/offboarding/contract.js'
import { redactionWorkflowId, redactionWorkflowType } from '../../src/redaction/contract.js'
import { buildWorkflowBundle } from '../../workers/bundle.js'
import { Calls, record, type Scenario } from './recorder.js'
import { isMissing, readRecording, replay } from './recordings.js'

const unavailable = () => ApplicationFailure.create({ message: 'unavailable', type: 'unavailable' })

function redacting(name: string, change: Partial<RedactionActivities>, drive?: Scenario['drive']): Scenario {
  const reference = {
    organizationId: `recorded-${name}`,
    redactionId: 'redaction_01h455vb4pex5vsknk084sn02q',
  }
  const activities: RedactionActivities = {
    awaitRedaction: () => Promise.resolve(),
    prepareRedaction: () => Promise.resolve('prepared'),
    decideRedaction: () => Promise.resolve('decided'),
    removeRedacted: () => Promise.resolve(),
    ...change,
  }
  return {
    type: redactionWorkflowType,
    workflowId: redactionWorkflowId(reference),
    input: reference,
    activities,
    ...(drive === undefined ? {} : { drive }),
  }
}

/** One whose state, as the database would have it, moves as the activities and the scenario say. */
function offboarding(
  name: string,
  begin: OffboardingState,
  change: (state: { now: OffboardingState }, calls: Calls) => Partial<OffboardingActivities>,
  drive?: (handle: WorkflowHandle, state: { now: OffboardingState }, calls: Calls) => Promise<void>,
): Scenario {
  const reference = {
    organizationId: `recorded-${name}`,
    offboardingId: 'offboarding_01h455vb4pex5vsknk084sn02q',
  }
  const state = { now: begin }
  const calls = new Calls()
  const activities: OffboardingActivities = {
    loadOffboarding: () => Promise.resolve({ state: state.now, coolingOffEndsMs: 0 }),
    beginOffboarding: () => {
      state.now = 'offboarding'
      return Promise.resolve('begun')
    },
    takeOffboardingStep: (_, step) => {
      if (step === 'certify') state.now = 'awaiting_expiry'
      return Promise.resolve()
    },
    stopOffboarding: () => {
      state.now = 'needs_operator'
      return Promise.resolve()
    },
    lookAtOffboarding: () => {
      state.now = 'completed'
      return Promise.resolve(true)
    },
    ...change(state, calls),
  }
  return {
    type: offboardingWorkflowType,
    workflowId: offboardingWorkflowId(reference),
    input: reference,
    activities,
    ...(drive === undefined ? {} : { drive: (handle) => drive(handle, state, calls) }),
  }
}

const interrupted = () =>
  ApplicationFailure.create({ message: 'x', type: offboardingInterruption, nonRetryable: true })

const kept = (number: number) => ({
  organizationId: 'recorded',
  requestId: `erasure_01h455vb4pex5vsknk084sn0${String(number)}q`,
})
const [looks, told] = [new Calls(), new Calls()]

function releasing(
  input: ReleaseKeptInput,
  activities: ReleasingActivities,
  drive?: Scenario['drive'],
): Scenario {
  return {
    type: releaseKeptWorkflowType,
    workflowId: releaseKeptWorkflowId(input.organizationId),
    input,
    activities,
    ...(drive === undefined ? {} : { drive }),
  }
}

const held = new Calls()
const wake = (handle: WorkflowHandle) => handle.signal(offboardingWakeSignal)

const scenarios: Readonly<Record<string, Scenario>> = {
  'redaction-redacted': redacting('redacted', {}),
  'redaction-failed': redacting('failed', { prepareRedaction: () => Promise.resolve('failed') }),
  'redaction-held': redacting(
    'held',
    {
      decideRedaction: () => {
        held.made()
        return Promise.resolve('held')
      },
    },
    async (handle) => {
      await held.reach(1)
      await handle.terminate()
    },
  ),
  'offboarding-completed': offboarding('completed', 'cooling_off', () => ({})),
  'offboarding-withdrawn': offboarding(
    'withdrawn',
    'cooling_off',
    (state, calls) => ({
      loadOffboarding: () => {
        calls.made()
        return Promise.resolve({ state: state.now, coolingOffEndsMs: Date.now() + 86_400_000 })
      },
    }),
    async (handle, state, calls) => {
      await calls.reach(1)
      state.now = 'withdrawn'
      await wake(handle)
    },
  ),
  'offboarding-held-and-released': offboarding(
    'held-and-released',
    'cooling_off',
    (state, calls) => ({
      beginOffboarding: () => {
        if (calls.made() === 1) {
          state.now = 'on_hold'
          return Promise.resolve('held')
        }
        state.now = 'offboarding'
        return Promise.resolve('begun')
      },
    }),
    async (handle, _state, calls) => {
      await calls.reach(1)
      await wake(handle)
    },
  ),
  'offboarding-stopped-and-retried': offboarding(
    'stopped-and-retried',
    'offboarding',
    (state, calls) => ({
      takeOffboardingStep: (_, step) => {
        if (step === 'certify') state.now = 'awaiting_expiry'
        // Until an operator has seen to it.
        if (step === 'remove_archive' && !retried)
          return Promise.reject(
            ApplicationFailure.create({ message: 'no', type: 'archive_unavailable', nonRetryable: true }),
          )
        return Promise.resolve()
      },
      stopOffboarding: () => {
        state.now = 'needs_operator'
        calls.made()
        return Promise.resolve()
      },
    }),
    async (handle, state, calls) => {
      await calls.reach(1)
      retried = true
      state.now = 'offboarding'
      await wake(handle)
    },
  ),
  'offboarding-interrupted-by-workers-that-stop': offboarding(
    'interrupted',
    'offboarding',
    (state, calls) => ({
      takeOffboardingStep: (_, step) => {
        // More often than a step may fail.
        if (step === 'remove_rows' && calls.made() <= 15) return Promise.reject(interrupted())
        if (step === 'certify') state.now = 'completed'
        return Promise.resolve()
      },
    }),
  ),
  'releases-of-all': releasing(
    { organizationId: null },
    {
      listKept: (_, after) => Promise.resolve(after === null ? [kept(1), kept(2)] : []),
      releaseKeptOf: ({ requestId }) =>
        Promise.resolve(
          requestId === kept(1).requestId
            ? { result: 'nothing' }
            : { result: 'certified', version: 2, outcome: 'completed' },
        ),
    },
  ),
  'releases-of-one-told-again': releasing(
    { organizationId: 'recorded' },
    {
      listKept: async (_, after) => {
        if (after !== null) return []
        if (looks.made() === 1) await told.reach(1)
        return [kept(1)]
      },
      releaseKeptOf: () => Promise.resolve({ result: 'released' }),
    },
    async (handle) => {
      await looks.reach(1)
      await handle.signal(holdReleasedSignal)
      told.made()
    },
  ),
  'releases-with-one-that-fails': releasing(
    { organizationId: 'recorded-failing' },
    {
      listKept: (_, after) => Promise.resolve(after === null ? [kept(1), kept(2)] : []),
      releaseKeptOf: ({ requestId }) =>
        requestId === kept(1).requestId
          ? Promise.reject(
              ApplicationFailure.create({ message: 'no', type: 'archive_unavailable', nonRetryable: true }),
            )
          : Promise.resolve({ result: 'released' }),
    },
  ),
  'releases-with-new-histories': releasing(
    { organizationId: 'recorded-long', requests: 2 },
    {
      listKept: (_, after) => {
        if (after === null) return Promise.resolve([kept(1), kept(2)])
        return Promise.resolve(after.requestId === kept(2).requestId ? [kept(3)] : [])
      },
      releaseKeptOf: ({ requestId }) =>
        requestId === kept(1).requestId
          ? Promise.reject(
              ApplicationFailure.create({ message: 'no', type: 'archive_unavailable', nonRetryable: true }),
            )
          : Promise.resolve({ result: 'released' }),
    },
  ),
  'offboarding-with-what-remains': offboarding('with-what-remains', 'awaiting_expiry', (state, calls) => ({
    lookAtOffboarding: () => {
      const first = calls.made() === 1
      if (!first) state.now = 'completed'
      return first ? Promise.reject(unavailable()) : Promise.resolve(true)
    },
  })),
}
let retried = false

const missing = Object.keys(scenarios).filter(isMissing)

beforeAll(async () => {
  await buildWorkflowBundle()
  if (missing.length > 0) await record(scenarios, missing)
})

test('every scenario has its recorded history', () => {
  expect(missing).toEqual([])
})

const lastOf = async (name: string) => JSON.stringify((await readRecording(name)).histories.at(-1))

test('a look that lasts comes to the last request in a new history, and still says that one failed before', async () => {
  const { histories } = await readRecording('releases-with-new-histories')
  expect(histories).toHaveLength(2)
  const last = await lastOf('releases-with-new-histories')
  expect(last).toContain('releaseKeptOf')
  expect(last).toContain('releases_failed')
})

test('workers that stop over a step, however often, take none of its attempts', async () => {
  expect(await lastOf('offboarding-interrupted-by-workers-that-stop')).not.toContain('stopOffboarding')
  expect(await lastOf('offboarding-stopped-and-retried')).toContain('stopOffboarding')
})

test('a request of which nothing could go stands in no other’s way, and is said at the end', async () => {
  const failed = await lastOf('releases-with-one-that-fails')
  expect(failed).toContain('releases_failed')
  expect(failed.match(/"name":"releaseKeptOf"/g)).toHaveLength(2)
})

test.each([
  ['releases-of-all', 'releaseKeptOf'],
  ['redaction-redacted', 'removeRedacted'],
  ['offboarding-completed', 'takeOffboardingStep'],
])('a history of %s that the code of today would not make is refused', async (name, activity) => {
  const edited = await readRecording(name, (text) => text.replaceAll(activity, 'other'))
  await expect(replay(edited)).rejects.toThrow()
})

test.each(Object.keys(scenarios))('%s replays', async (name) => {
  await replay(await readRecording(name))
})
