/**
 * The steps of a restore, taken by hand: each may be broken off and repeated, several overlap, and what is erased while one
 * copies does not come back.
 */
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Restorer } from '../../src/archive/restores/restorer.js'
import { createRestoredRows } from '../../src/archive/restores/rows.js'
import { eventIdOf } from '../../src/events/store.js'
import { subjectStore } from '../../src/subjects/store.js'
import { archiveReaderOf } from '../support/archiving.js'
import {
  archivedIds,
  foundRestored,
  restoredRowsOf,
  restorerOf,
  writtenRestore,
} from '../support/restoring.js'
import { openWorld, type World } from '../support/world.js'

const organizationId = 'org_restore_steps'
const base = `/v1/organizations/${organizationId}`
const never = new AbortController().signal
const noBeat = () => undefined

let world: World
let restorer: Restorer

beforeAll(async () => {
  world = await openWorld()
  await archivedIds(world.api.core, organizationId)
  restorer = restorerOf(world)
})
afterAll(() => world.close())

const rowsOf = (filter: object = {}) => restoredRowsOf(world, organizationId, filter)
const found = (query: string) => foundRestored(world, base, query)

const written = () => writtenRestore(world, organizationId)

test('a copy that is stopped again and again goes on, and each step may be repeated', async () => {
  const reference = await written()
  let rounds = 0
  for (let done = false; !done; rounds += 1) {
    const stop = new AbortController()
    done = await restorer.copy(reference, { beat: () => stop.abort(), signal: stop.signal })
    // As if the process had died after its work, and before anybody heard of it.
    if (done) await restorer.copy(reference, { beat: noBeat, signal: never })
  }
  expect(rounds).toBeGreaterThan(3)
  const until = await restorer.activate(reference)
  expect(await restorer.activate(reference)).toEqual(until)
  expect(await world.api.core.restores.store.find(reference)).toMatchObject({
    state: 'restored',
    counts: { leaves: 701, events: 701 },
  })
  for (let time = 0; time < 2; time += 1) await restorer.expire(reference)
  expect(await rowsOf({ restores: reference.restoreId })).toEqual([])
})

test('overlapping restores that come and go at once leave each other what they want', async () => {
  const references = [await written(), await written(), await written()] as const
  const rows = createRestoredRows(world.api.core.db)
  const copies = references.map((reference) => restorer.copy(reference, { beat: noBeat, signal: never }))
  const [first, second, third] = references
  await Promise.all([...copies, rows.remove(first), rows.remove(first)])
  await Promise.all([
    restorer.copy(first, { beat: noBeat, signal: never }),
    rows.remove(first),
    rows.remove(second),
  ])
  await rows.remove(first)
  const left = await rowsOf()
  expect(left.map(({ _id }) => eventIdOf(_id)).sort()).toEqual(
    [
      ...(
        await archiveReaderOf(world.api.core).find(
          organizationId,
          left.map(({ _id }) => eventIdOf(_id)),
        )
      ).keys(),
    ].sort(),
  )
  expect(await rows.count(third)).toBe(701)
  expect(left).toHaveLength(701)
  await restorer.fail(first, 'internal')
  await restorer.fail(second, 'internal')
  await restorer.fail(third, 'internal')
  expect(await rowsOf()).toEqual([])
})

test('who was erased does not come back, also where it happens while the archive is read', async () => {
  const { core } = world.api
  const { subjects } = subjectStore(core.db)
  const [one] = await found('actorId=u_3').then(() => subjects.find({ organizationId }).limit(1).toArray())
  if (one === undefined) throw new Error('there are persons')
  const reference = one._id.slice(organizationId.length + 1)
  const restore = await written()
  await restorer.copy(restore, { beat: noBeat, signal: never })
  const about = { restores: restore.restoreId, 'fields.subject': reference }
  expect((await rowsOf({ ...about, 'fields.sealed': { $exists: true } })).length).toBe(14)

  // An erasure: the key goes, and the counter moves.
  await subjects.updateOne({ _id: one._id }, { $set: { state: 'erased' }, $unset: { key: 1 } })
  await core.client.withSession((session) =>
    session.withTransaction(() => core.retention.lifecycle.advance(organizationId, session)),
  )
  await restorer.activate(restore)
  expect(await rowsOf({ ...about, 'fields.sealed': { $exists: true } })).toEqual([])
  const views = await world.request('GET', `${base}/events?source=restored&subject=${reference}`)
  const { data } = views.body as { data: { actor: object }[] }
  expect(data).toHaveLength(14)
  for (const { actor } of data) expect(actor).toEqual({ type: 'user', subject: reference, erased: true })
  expect(await found('ip=203.0.113.7&subject=' + reference)).toEqual([])
  await restorer.expire(restore)

  const later = await written()
  await restorer.copy(later, { beat: noBeat, signal: never })
  const rows = await rowsOf({ restores: later.restoreId, 'fields.subject': reference })
  expect(rows).toHaveLength(14)
  expect(JSON.stringify(rows)).not.toContain('"sealed"')
  await restorer.fail(later, 'internal')
})
