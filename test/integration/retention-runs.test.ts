/** Rows of runs: what happened to an organization's events stays as long as somebody may want to know, and no longer. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { collectionNames } from '../../src/mongo/collections.js'
import { createRunStore, runLimits, type RetentionRunDocument } from '../../src/retention/runs.js'
import { openWorld, type World } from '../support/world.js'

let world: World
beforeAll(async () => {
  world = await openWorld()
})
afterAll(() => world.close())

const rows = () => world.api.core.db.collection<RetentionRunDocument>(collectionNames.retentionRuns)
const dayMs = 86_400_000
const start = (organizationId: string, number: number, execution = 'first') => ({
  ...({ organizationId, kind: 'archive', generation: 1, from: number, to: number + 1 } as const),
  workflowId: `archive/${organizationId}/1.${String(number)}-${String(number + 1)}`,
  execution,
  step: 'exporting' as const,
  at: new Date(Date.UTC(2026, 0, 1, 0, 0, number)),
})
const at = new Date('2026-02-01T00:00:00Z')
const daysKept = async (organizationId: string) => {
  const found = await rows().find({ organizationId }).sort({ from: 1 }).toArray()
  return found.map(({ state, goneAt, updatedAt }) => [
    state,
    goneAt === null ? null : (goneAt.getTime() - updatedAt.getTime()) / dayMs,
  ])
}

test('what went well goes after a quarter, what did not after a year, and what waits for somebody never', async () => {
  const runs = createRunStore(world.api.core.db)
  const org = 'org_days'
  const [done = '', stopped = '', taken = '', failed = ''] = await Promise.all(
    [0, 1, 2, 3].map((number) => runs.begin(start(org, number))),
  )
  await runs.finish(org, done, { step: 'done', counts: {}, bytes: {} }, at)
  await runs.needOperator(org, stopped, 'archive_full', {}, at)
  await runs.needOperator(org, taken, 'archive_full', {}, at)
  await runs.fail(org, failed, 'archive_altered', {}, at)
  const again = await runs.begin({ ...start(org, 2, 'second'), at })
  await rows().deleteOne({ runId: again })
  expect(await daysKept(org)).toEqual([
    ['done', runLimits.doneDays],
    ['needs_operator', null],
    ['superseded', runLimits.otherDays],
    ['failed', runLimits.otherDays],
  ])
  // It went on: nobody has to act any more.
  await runs.progress(org, stopped, { step: 'verifying' }, at)
  expect((await daysKept(org))[1]).toEqual(['running', runLimits.otherDays])
  const indexes = await rows().indexes()
  expect(indexes.find(({ key }) => 'goneAt' in key)).toMatchObject({ expireAfterSeconds: 0 })
})

test('of runs that went well an organization keeps the newest, and loses nothing of the others', async () => {
  const runs = createRunStore(world.api.core.db, { maxDone: 3 })
  const waiting = await runs.begin(start('org_many', 0))
  await runs.needOperator('org_many', waiting, 'archive_full', {}, at)
  const other = await runs.begin(start('org_quiet', 0))
  await runs.finish('org_quiet', other, {}, at)
  for (let number = 1; number <= 6; number += 1) {
    const id = await runs.begin(start('org_many', number))
    await runs.finish('org_many', id, { counts: { leaves: 1 }, bytes: { archived: 10, verified: 10 } }, at)
  }
  const left = await runs.list({ organizationId: 'org_many', limit: 100 })
  expect(left.map(({ from, state }) => [from, state])).toEqual([
    [6, 'done'],
    [5, 'done'],
    [4, 'done'],
    [0, 'needs_operator'],
  ])
  expect(await runs.list({ organizationId: 'org_quiet', limit: 100 })).toHaveLength(1)
  expect(runs.totals().get('archive')).toEqual({ runs: 7, leaves: 6, archivedBytes: 60, verifiedBytes: 60 })
})

test('how far a step came is said with the next, and stays where a run stopped', async () => {
  const runs = createRunStore(world.api.core.db)
  const org = 'org_progress'
  const id = await runs.begin(start(org, 0))
  const far = { done: 200, total: 256, bytes: 4_096 }
  await runs.advance(org, id, far, at)
  const shown = async () => (await world.request('GET', `/v1/organizations/${org}/retention/runs/${id}`)).body
  await world.request('PUT', `/v1/organizations/${org}`, { body: {} })
  expect(await shown()).toMatchObject({ state: 'running', step: 'exporting', progress: far })
  expect(await runs.progress(org, id, { step: 'verifying' }, at)).toEqual(far)
  expect(await shown()).toMatchObject({ step: 'verifying', progress: null })
  await runs.advance(org, id, far, at)
  await runs.needOperator(org, id, 'archive_altered', { step: 'verifying' }, at)
  expect(await shown()).toMatchObject({ state: 'needs_operator', progress: far })
  // A straggler of the step that stopped changes nothing.
  await runs.advance(org, id, { ...far, done: 1 }, at)
  expect(await shown()).toMatchObject({ progress: far })
})
