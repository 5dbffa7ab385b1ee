/**
 * Archiving, expiry, their sweeps and restores against the histories of yesterday: a segment takes hours, a restore days,
 * and both go on under the code of the next deployment. A change that they could not follow fails here and needs a patch.
 *
 * To record: delete a history and run this test, twice; the first run writes it and fails. The activities are stand-ins
 * that do what the scenario is about.
 */
import { ApplicationFailure, Context } from '@temporalio/activity'
import { beforeAll, expect, test } from 'vitest'
import type { ExpiryActivities } from '../../activities/expiry.js'
import type { RestoreActivities } from '../../activities/restore.js'
import type { RetentionActivities } from '../../activities/retention.js'
import { restoreWorkflowId, restoreWorkflowType } from '../../src/archive/restores/contract.js'
import {
  archiveWorkflowId,
  lifecycleMoved,
  sweepWorkflowId,
  sweepWorkflowType,
} from '../../src/retention/contract.js'
import { expireWorkflowId, notSealedYet } from '../../src/retention/expiry-contract.js'
import { buildWorkflowBundle } from '../../workers/bundle.js'
import { Calls, record, type Scenario } from './recorder.js'
import { isMissing, readRecording, replay } from './recordings.js'

const failure = (type: string) => ApplicationFailure.create({ message: type, type })
const organizationOf = (name: string) => `recorded-${name}`
const rangeOf = (organizationId: string, from = 0) => ({ organizationId, generation: 1, from, to: from + 9 })
const nothing = { counts: {}, bytes: {} }
const isFirstAttempt = () => Context.current().info.attempt === 1

const archiving: RetentionActivities = {
  findDue: () => Promise.resolve({ ranges: [], next: null }),
  findDueOf: () => Promise.resolve({ ranges: [], next: null }),
  beginArchive: () => Promise.resolve('run_1'),
  exportSegment: () => Promise.resolve('written'),
  verifySegment: () => Promise.resolve(),
  recordSegment: () => Promise.resolve(),
  deleteHot: () => Promise.resolve(nothing),
  noteStep: () => Promise.resolve(undefined),
  finishArchive: () => Promise.resolve(undefined),
  stopArchive: () => Promise.resolve(),
}

const expiring: ExpiryActivities = {
  findExpired: () => Promise.resolve({ segments: [], next: null }),
  findExpiredOf: () => Promise.resolve({ segments: [], next: null }),
  beginExpiry: () => Promise.resolve('run_2'),
  rewriteExpired: () => Promise.resolve('recorded'),
  proveExpired: () => Promise.resolve(),
  deleteExpired: () => Promise.resolve(nothing),
  noteExpiryStep: () => Promise.resolve(undefined),
  finishExpiry: () => Promise.resolve(undefined),
  stopExpiry: () => Promise.resolve(),
}

function archive(name: string, change: Partial<RetentionActivities>): Scenario {
  const input = rangeOf(organizationOf(name))
  return {
    type: 'archive',
    workflowId: archiveWorkflowId(input),
    input,
    activities: { ...archiving, ...change },
  }
}

function expire(name: string, change: Partial<ExpiryActivities>): Scenario {
  const input = { ...rangeOf(organizationOf(name)), kind: 'content' as const }
  return {
    type: 'expire',
    workflowId: expireWorkflowId(input),
    input,
    activities: { ...expiring, ...change },
  }
}

/** Of one organization: its ranges are due one after the other, and so are its segments. */
function sweep(name: string, segments: number, change: Partial<RetentionActivities> = {}): Scenario {
  const organizationId = organizationOf(name)
  let [archived, expired] = [0, 0]
  const activities: RetentionActivities & ExpiryActivities = {
    ...archiving,
    ...expiring,
    findDueOf: () =>
      Promise.resolve({ ranges: archived < segments ? [rangeOf(organizationId, archived)] : [], next: null }),
    deleteHot: () => {
      archived += 1
      return Promise.resolve(nothing)
    },
    findExpiredOf: () => {
      const segment = { ...rangeOf(organizationId, expired), kind: 'content' as const }
      return Promise.resolve({ segments: expired < archived ? [segment] : [], next: null })
    },
    deleteExpired: () => {
      expired += 1
      return Promise.resolve(nothing)
    },
    ...change,
  }
  return {
    type: sweepWorkflowType,
    workflowId: `${sweepWorkflowId}/${organizationId}`,
    input: { organizationId, segments: 2 },
    activities,
  }
}

/** Over all: pages of two, one organization of which stands still. */
function sweepOfAll(type: string): Scenario {
  const names = ['a', 'b', 'c'].map((one) => organizationOf(`${type}-${one}`))
  const done = new Set<string>()
  const page = (after: string | null) => {
    const left = names.filter((name) => !done.has(name) && (after === null || name > after))
    return { found: left.slice(0, 2), next: left.length > 2 ? (left[1] ?? null) : null }
  }
  const isBroken = ({ organizationId }: { readonly organizationId: string }) => organizationId === names[1]
  const activities: RetentionActivities & ExpiryActivities = {
    ...archiving,
    ...expiring,
    findDue: (_, after) => {
      const { found, next } = page(after)
      return Promise.resolve({ ranges: found.map((name) => rangeOf(name)), next })
    },
    findExpired: (_, after) => {
      const { found, next } = page(after)
      return Promise.resolve({
        segments: found.map((name) => ({ ...rangeOf(name), kind: 'content' as const })),
        next,
      })
    },
    exportSegment: (range) =>
      isBroken(range) ? Promise.reject(failure('archive_conflict')) : Promise.resolve('written'),
    rewriteExpired: (segment) =>
      isBroken(segment) ? Promise.reject(failure('archive_refused')) : Promise.resolve('recorded'),
    deleteHot: ({ organizationId }) => {
      done.add(organizationId)
      return Promise.resolve(nothing)
    },
    deleteExpired: ({ organizationId }) => {
      done.add(organizationId)
      return Promise.resolve(nothing)
    },
  }
  return { type, workflowId: `recorded/${type}`, input: {}, activities }
}

/** Over two, of which one is slow, and the other has a second segment meanwhile. */
function sweepApart(): Scenario {
  const [many, slow] = [organizationOf('apart-many'), organizationOf('apart-slow')]
  const left = new Map([
    [many, 2],
    [slow, 1],
  ])
  const activities: RetentionActivities & ExpiryActivities = {
    ...archiving,
    ...expiring,
    findDue: () => {
      const due = [...left].filter(([, count]) => count > 0)
      return Promise.resolve({ ranges: due.map(([name, count]) => rangeOf(name, 2 - count)), next: null })
    },
    exportSegment: async ({ organizationId }) => {
      if (organizationId === slow) await new Promise((resolve) => setTimeout(resolve, 8_000))
      return 'written'
    },
    deleteHot: ({ organizationId }) => {
      left.set(organizationId, (left.get(organizationId) ?? 0) - 1)
      return Promise.resolve(nothing)
    },
  }
  return { type: sweepWorkflowType, workflowId: 'recorded/sweep-apart', input: {}, activities }
}

function restore(
  name: string,
  change: Partial<RestoreActivities>,
  drive?: (handle: Parameters<NonNullable<Scenario['drive']>>[0], calls: Calls) => Promise<void>,
  days = 0,
): Scenario {
  const reference = {
    organizationId: organizationOf(name),
    restoreId: 'restore_01h455vb4pex5vsknk084sn02q',
  }
  const calls = new Calls()
  const activities: RestoreActivities = {
    awaitRestore: () => Promise.resolve(),
    copyRestore: () => Promise.resolve(),
    activateRestore: () => {
      calls.made()
      return Promise.resolve(Date.now() + days * 86_400_000)
    },
    expireRestore: () => Promise.resolve(),
    failRestore: () => Promise.resolve(),
    ...change,
  }
  return {
    type: restoreWorkflowType,
    workflowId: restoreWorkflowId(reference),
    input: reference,
    activities,
    ...(drive === undefined ? {} : { drive: (handle) => drive(handle, calls) }),
  }
}

let records = 0
const scenarios: Readonly<Record<string, Scenario>> = {
  'archive-done': archive('done', {}),
  'archive-taken': archive('taken', { exportSegment: () => Promise.resolve('taken') }),
  'archive-shortened': archive('shortened', { exportSegment: () => Promise.resolve('shortened') }),
  'archive-recorded-already': archive('recorded', { exportSegment: () => Promise.resolve('recorded') }),
  'archive-exported-again': archive('again', {
    recordSegment: () => ((records += 1) === 1 ? Promise.reject(failure(lifecycleMoved)) : Promise.resolve()),
  }),
  'archive-stopped': archive('stopped', {
    verifySegment: () => Promise.reject(failure('verification_failed')),
  }),
  'expire-done': expire('expire-done', {}),
  'expire-kept': expire('expire-kept', { rewriteExpired: () => Promise.resolve('kept') }),
  'expire-waited-for-the-log': expire('expire-waited', {
    proveExpired: () => (isFirstAttempt() ? Promise.reject(failure(notSealedYet)) : Promise.resolve()),
  }),
  'expire-stopped': expire('expire-stopped', {
    deleteExpired: () => Promise.reject(failure('archive_refused')),
  }),
  // Those above were recorded when each note was an activity of its own.
  'archive-noted-within': archive('noted', {}),
  'archive-stopped-noted-within': archive('stopped-noted', {
    verifySegment: () => Promise.reject(failure('verification_failed')),
  }),
  'expire-noted-within': expire('expire-noted', {}),
  'sweep-rounds-apart': sweepApart(),
  'sweep-with-new-histories': sweep('sweep', 3),
  'sweep-of-all': sweepOfAll(sweepWorkflowType),
  'expiry-sweep-of-all': sweepOfAll('expirySweep'),
  'restore-expired': restore('restore-expired', {}),
  'restore-failed': restore('restore-failed', {
    copyRestore: () => Promise.reject(failure('archive_damaged')),
  }),
  'restore-cancelled': restore(
    'restore-cancelled',
    {},
    async (handle, calls) => {
      await calls.reach(1)
      await handle.cancel()
    },
    7,
  ),
}

const missing = Object.keys(scenarios).filter(isMissing)

beforeAll(async () => {
  await buildWorkflowBundle()
  if (missing.length > 0) await record(scenarios, missing)
})

test('every scenario has its recorded history', () => {
  expect(missing).toEqual([])
})

test.each([
  ['archive-exported-again', 'verifySegment'],
  ['expire-done', 'proveExpired'],
  ['archive-noted-within', 'exportSegment'],
  ['sweep-rounds-apart', 'findDue'],
  ['sweep-with-new-histories', 'findDueOf'],
  ['expiry-sweep-of-all', 'findExpired'],
  ['restore-expired', 'expireRestore'],
])('a history of %s that the code of today would not make is refused', async (name, activity) => {
  const edited = await readRecording(name, (text) => text.replaceAll(activity, 'other'))
  await expect(replay(edited)).rejects.toThrow()
})

test.each(Object.keys(scenarios))('%s replays', async (name) => {
  await replay(await readRecording(name))
})
