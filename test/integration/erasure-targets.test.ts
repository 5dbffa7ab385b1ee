import { randomBytes } from 'node:crypto'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MongoClient } from 'mongodb'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { failureOf } from '../../activities/erasing.js'
import type { ArchivedContent } from '../../src/erasure/archived-content.js'
import type { ErasureIdentifier } from '../../src/erasure/contract.js'
import { createLogFiles } from '../../src/erasure/log-files.js'
import { createTargets } from '../../src/erasure/targets/registry.js'
import { TargetError, type ErasureTarget, type ErasureWork } from '../../src/erasure/targets/contract.js'
import type { StoredEvent } from '../../src/events/store.js'
import { newId } from '../../src/ids.js'
import type { PeriodKeys } from '../../src/keys/period-keys.js'
import { archiveRange, archiverOf } from '../support/retaining.js'
import { erasingRun } from '../support/erasing.js'
import { drainUntilSealed } from '../support/sealing.js'
import { openWorld, type World } from '../support/world.js'
import { checkLookedAt, checkTarget } from '../contracts/erasure-target.js'

let world: World
beforeAll(async () => {
  world = await openWorld({
    temporal: true,
    environment: { ANNALS_TEMPORAL_NAMESPACE: `targets-${randomBytes(6).toString('hex')}` },
    unsearchable: 'targets are run one by one, and rows are put where they would not be',
  })
})
afterAll(async () => {
  await world.close()
})

const person = {
  type: 'user',
  id: 'u_5512-target',
  name: 'Theodora Target',
  email: 'theodora.target@acme.example',
}
const canaries = [person.id, person.name, person.email]
const identifiers: readonly ErasureIdentifier[] = [
  { kind: 'id', type: 'user', value: person.id },
  { kind: 'email', value: person.email },
  { kind: 'other', value: person.name },
]
const somebodyElse = { type: 'user', id: 'u_other', name: 'Somebody Else', email: 'else@acme.example' }
const nothing = () => undefined

async function post(organizationId: string, rest: object): Promise<string> {
  const body = {
    organizationId,
    action: 'document.opened',
    occurredAt: new Date().toISOString(),
    actor: somebodyElse,
    targets: [],
    ...rest,
  }
  const answer = await world.request('POST', '/v1/events', { body })
  expect(answer.status, answer.text).toBe(201)
  return (answer.body as { id: string }).id
}

async function postSome(organizationId: string): Promise<void> {
  await post(organizationId, { actor: person, targets: [somebodyElse] })
  await post(organizationId, { targets: [person] })
  await post(organizationId, { description: `for ${person.name}` })
  await post(organizationId, { description: 'for nobody in particular' })
  await drainUntilSealed(world.api.core, organizationId)
}

/** The person and somebody else wherever a target looks. */
async function seed(organizationId: string): Promise<void> {
  const { core } = world.api
  await postSome(organizationId)
  const head = await core.sealing.store.head(organizationId)
  if (head === undefined) throw new Error('nothing was sealed')
  await archiveRange(archiverOf(world), { organizationId, generation: 1, from: 0, to: head.size })
  await postSome(organizationId)
  const restored = core.db.collection<StoredEvent>('restoredEvents')
  await restored.insertMany(await core.events.find({ organizationId, category: 'product' }).toArray())
  // Rows that somebody slipped in and the sealer set aside.
  const named = { organizationId, 'fields.value': JSON.stringify(`for ${person.name}`) }
  const slipped = await core.events.findOne(named)
  if (slipped === null) throw new Error('no text names the person')
  const aside = { ...slipped, setAside: 'invalid_mac' as const }
  await core.events.insertMany([
    { ...aside, _id: `${organizationId}/evt_aside_one` },
    { ...aside, _id: `${organizationId}/evt_aside_two`, fields: [] },
  ])
  const scans = core.db.collection<{ _id: string }>('scans')
  for (const [name, owner] of Object.entries({ one: person.email, two: somebodyElse.email })) {
    const scan = {
      _id: `${organizationId}/scan_${name}`,
      organizationId,
      scanId: `scan_${name}`,
      engine: 'nightly',
      startedAt: new Date(),
      metadataJson: JSON.stringify({ owner }),
      progress: null,
      end: null,
      bodyFingerprint: null,
    }
    await scans.insertOne(scan)
  }
  await seedWords(organizationId)
}

/** The person and somebody else in what officers wrote, and in an open request about somebody else. */
async function seedWords(organizationId: string): Promise<void> {
  const { core } = world.api
  const restores = core.db.collection<{ _id: string }>('restores')
  for (const reason of [`asked for by ${person.name}`, 'case 17']) {
    const restoreId = newId('restore')
    const row = { organizationId, restoreId, state: 'expired', reason, bodyFingerprint: Buffer.alloc(32) }
    await restores.insertOne({ _id: `${organizationId}/${restoreId}`, ...row })
  }
  for (const note of [`for ${person.email}`, 'seen']) {
    const request = {
      identifiers: [{ kind: 'id', type: 'user', value: `u_${newId('erasure')}` }],
      ground: '17(1)(b)',
      requester: note,
      channel: 'letter',
      receivedAt: new Date().toISOString(),
    }
    const base = `/v1/organizations/${organizationId}/erasures`
    const answer = await world.request('POST', base, { body: request })
    expect(answer.status, answer.text).toBe(202)
    // So that it is known by its bytes whose it is.
    const { id } = answer.body as { id: string }
    const marked = { $set: { marked: note } }
    await core.db.collection('erasureRequests').updateOne({ organizationId, requestId: id }, marked)
  }
}

/** Erases up to the targets. @returns what they would be asked */
async function untilTargets(organizationId: string): Promise<ErasureWork> {
  const { core } = world.api
  let asked: ErasureWork | undefined
  const run = erasingRun(core, organizationId, identifiers, {
    deps: (deps) => ({
      ...deps,
      targets: deps.targets.map((target) => ({
        ...target,
        erase(work: ErasureWork) {
          asked = work
          return Promise.resolve(0)
        },
      })),
    }),
  })
  await run.scope()
  await run.erasing.fence(run, nothing)
  await run.erasing.prepare(run, nothing)
  await run.erasing.erase(run, nothing)
  if (asked === undefined) throw new Error('no target was asked')
  return asked
}

/** What processes that slept through the fence leave: rows answered to nobody, and an entry of the directory. */
async function leaveBehind({ organizationId, subjects }: ErasureWork): Promise<void> {
  const { db, events } = world.api.core
  const [subject] = subjects
  const row = await events.findOne({ organizationId, 'fields.subject': subject })
  if (row === null || subject === undefined) throw new Error('no event of the person is there')
  await events.insertOne({ ...row, _id: `${organizationId}/evt_late`, pending: true })
  await db.collection<{ _id: string }>('directory').insertOne({
    _id: `${organizationId}/seen/late/${subject}`,
    organizationId,
    subject,
    lookup: Buffer.alloc(32),
    sealed: Buffer.alloc(60),
  } as { _id: string })
}

const archiveAway = () => Promise.reject(new TargetError('archive_content', 'archive_unavailable'))
const noMore = () => Promise.resolve({ done: true, value: undefined })
// Never connected: asked for their names here, and below for what is not there.
const logsAway = join(tmpdir(), 'annals-no-such-log')
const away = createTargets(
  new MongoClient('mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=100').db('away'),
  {
    archived: {
      pick: () => ({ [Symbol.asyncIterator]: () => ({ next: archiveAway }) }),
      closeBehind: archiveAway,
      left: archiveAway,
    } as unknown as ArchivedContent,
    log: { locateAll: () => Promise.resolve(new Map()) },
    ledger: { entries: () => ({ [Symbol.asyncIterator]: () => ({ next: noMore }) }) as never },
  },
  createLogFiles({ folder: logsAway, paths: [logsAway] }),
  {} as PeriodKeys,
)
/** What it fails with while it is away, where that is not the database. */
const failures: Readonly<Record<string, object>> = {
  archive_content: { reason: 'archive_unavailable', targets: ['archive_content'] },
  log_files: { reason: 'target_unavailable', passing: false, targets: ['log_files'] },
}

const targetNamed = (targets: readonly ErasureTarget[], name: string): ErasureTarget => {
  const target = targets.find((one) => one.name === name)
  if (target === undefined) throw new Error(`there is no target ${name}`)
  return target
}

const nameOf = ({ name }: ErasureTarget) => name

describe.each(away.filter(({ erases }) => erases !== false).map(nameOf))('%s', (name) => {
  test('erases all of the person and nothing of anybody else, and a repeat changes nothing', async () => {
    const { core } = world.api
    const organizationId = `org_target_${name}`
    await seed(organizationId)
    await seed(`${organizationId}_other`)
    const work = await untilTargets(organizationId)
    await leaveBehind(work)
    const target = targetNamed(core.erasing.deps.targets, name)
    await checkTarget({ core, work, target, canaries })
  })
})

describe.each(away.filter(({ erases }) => erases === false).map(nameOf))('%s', (name) => {
  test('is looked at and changed by nobody: what is in it blocks until somebody takes it out', async () => {
    const { core } = world.api
    const folder = join(world.config.dataDirectory, 'logs')
    await mkdir(folder, { recursive: true })
    await writeFile(join(folder, 'work.log'), `{"msg":"a line"}\n{"msg":"${person.email}"}\n`)
    const target = targetNamed(core.erasing.deps.targets, name)
    const { keyset } = await core.eventOrganizations.ensure('org_target_looked_at', 'system')
    const left: string[] = []
    const work = {
      ...workOfNobody,
      keyset,
      searched: identifiers,
      onLeft: (place: string) => left.push(place),
    }
    await checkLookedAt({
      target,
      work,
      takeOut: () => rm(join(folder, 'work.log')),
    })
    expect(new Set(left)).toEqual(new Set(['log_files/work.log:2']))
  })
})

describe.each(away.map(nameOf))('%s', (name) => {
  test('is an error while it cannot be reached, and never counts nothing', async () => {
    const { keyset } = await world.api.core.eventOrganizations.ensure('org_target_away', 'system')
    const work = { ...workOfNobody, keyset }
    const target = targetNamed(away, name)
    const asks = [
      () => target.scope(work),
      () => target.verify(work),
      ...(target.erases === false ? [] : [() => target.erase(work)]),
    ]
    for (const ask of asks) {
      const failure: unknown = await ask().then(
        (items) => items,
        (error: unknown) => error,
      )
      const expected = failures[name] ?? { reason: 'database_unavailable', passing: true }
      expect(failureOf(failure)).toMatchObject(expected)
    }
  })
})

const workOfNobody: Omit<ErasureWork, 'keyset'> = {
  organizationId: 'org_target_away',
  requestId: 'erasure_01h455vb4pex5vsknk084sn02q',
  subjects: ['sub_00000000000000000000000000'],
  matcher: { find: () => [], mayHold: () => true },
  until: undefined,
  beat: nothing,
}
