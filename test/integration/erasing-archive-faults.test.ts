/** The archive fails while a person is erased from it: each call, before and behind the fence, and goes away whole. */
import { rename } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { failureOf } from '../../activities/erasing.js'
import { parseSegmentPath } from '../../src/archive/segment-paths.js'
import type { ErasingDependencies } from '../../src/erasure/erasing.js'
import { TargetError } from '../../src/erasure/targets/contract.js'
import {
  archiveAll,
  canaryIdentifiers,
  hitsOf,
  person,
  post,
  withArchive,
} from '../support/archived-person.js'
import { archiveReaderOf, segmentsOf } from '../support/archiving.js'
import { checkErasure } from '../support/erasure-oracle.js'
import { erasingRun, type ErasingRun } from '../support/erasing.js'
import { Fault, faultKinds, faulty } from '../support/faulty.js'
import { checkRetained } from '../support/retention-oracle.js'
import { openWorld, type World } from '../support/world.js'

let world: World
beforeAll(async () => {
  world = await openWorld()
})
afterAll(async () => {
  await world.close()
})

const nothing = () => undefined

/** One event about the person, one that names them in text. */
async function seed(organizationId: string): Promise<string[]> {
  const own = await post(world, organizationId, { actor: person })
  const text = await post(world, organizationId, { description: `for ${person.name}` })
  await archiveAll(world, organizationId)
  return [own.id, text.id]
}

/** Nothing is lost, nothing gone without its intent, every event is found; at the end every segment verifies, and there is no object but the recorded ones. */
async function check(run: ErasingRun, ids: readonly string[], end?: 'end'): Promise<void> {
  const { core } = world.api
  await checkErasure(core, run, 0)
  if (end === undefined) {
    // An older revision may still lie there: it is recorded first, and deleted then.
    expect((await archiveReaderOf(core).find(run.organizationId, ids)).size).toBe(ids.length)
    return
  }
  await checkRetained(world, run.organizationId, ids)
  expect(await hitsOf(world, run.organizationId)).toEqual([])
  const recorded = new Set<string>()
  for await (const { content } of segmentsOf(core).find({ organizationId: run.organizationId })) {
    recorded.add(content?.file.path ?? '')
    recorded.add(content?.manifestPath ?? '')
  }
  for await (const { path } of core.archive.versions(`${run.organizationId}/`)) {
    const kind = parseSegmentPath(path)?.kind
    if (kind === 'content' || kind === 'contentManifest') expect(recorded).toContain(path)
  }
}

describe('whatever call of the archive breaks, the erasure goes on from there, and ends as if nothing had', () => {
  test.each(faultKinds)(
    '%s',
    async (kind) => {
      for (let at = 0; ; at += 1) {
        const organizationId = `org_${kind.replaceAll(' ', '_')}_${String(at)}`
        const ids = await seed(organizationId)
        // All that comes before the archive has its turn is another matrix's.
        let broken: ReturnType<typeof faulty> | undefined
        const wrap = <T extends object>(target: T): T =>
          new Proxy(target, {
            get: (object, name) => Reflect.get(broken?.wrap(object) ?? object, name) as unknown,
          })
        const run = erasingRun(world.api.core, organizationId, canaryIdentifiers, {
          deps: withArchive(world, wrap),
        })
        await run.scope()
        await run.erasing.fence(run, nothing)
        await run.erasing.prepare(run, nothing)
        broken = faulty(at, kind)
        let failure: unknown
        await run.erasing.erase(run, nothing).catch((error: unknown) => {
          failure = error
        })
        if (failure !== undefined) expect(failure).toBeInstanceOf(Fault)
        broken = undefined
        await check(run, ids)
        await run.erasing.erase(run, nothing)
        expect(await run.erasing.verify(run, nothing), `${kind} at ${String(at)}`).toEqual({
          result: 'clean',
        })
        await check(run, ids, 'end')
        if (failure === undefined) break
        expect(at).toBeLessThan(100)
      }
    },
    300_000,
  )
})

describe('an archive that is not there', () => {
  const folder = (): string => {
    const { archive } = world.config
    if (archive.kind !== 'folder') throw new Error('this world archives to a folder')
    return archive.folder
  }
  const away = () => rename(folder(), `${folder()}.away`)
  const back = () => rename(`${folder()}.away`, folder())
  const refused = { name: 'TargetError', target: 'archive_content', reason: 'archive_unavailable' }
  const stateOf = async (organizationId: string) =>
    (await world.api.core.db.collection('subjects').findOne({ organizationId }))?.['state'] as string

  test('when the fence is to go up: nobody is fenced', async () => {
    const ids = await seed('org_away_fence')
    const run = erasingRun(world.api.core, 'org_away_fence', canaryIdentifiers)
    await run.scope()
    await away()
    await expect(run.erasing.fence(run, nothing)).rejects.toMatchObject(refused)
    expect(await stateOf('org_away_fence')).toBe('active')
    // What is away is not "nothing of the person".
    await run.scope()
    expect(run.report().targets).toContainEqual(
      expect.objectContaining({ target: 'archive_content', status: 'unreachable' }),
    )
    await back()
    await run.scope()
    expect(await run.toVerified()).toBe('clean')
    await check(run, ids, 'end')
  })

  test('when the keys are to go: they stay', async () => {
    const ids = await seed('org_away_keys')
    const run = erasingRun(world.api.core, 'org_away_keys', canaryIdentifiers)
    await run.scope()
    await run.erasing.fence(run, nothing)
    await run.erasing.prepare(run, nothing)
    await away()
    await expect(run.erasing.erase(run, nothing)).rejects.toMatchObject(refused)
    expect(await stateOf('org_away_keys')).toBe('fenced')
    await back()
    await run.erasing.erase(run, nothing)
    expect(await run.erasing.verify(run, nothing)).toEqual({ result: 'clean' })
    await check(run, ids, 'end')
  })

  test('when its turn comes: the keys are gone, which is recorded, and the request waits for it by its name', async () => {
    const ids = await seed('org_away_late')
    let gone = false
    const deps = (given: ErasingDependencies): ErasingDependencies => ({
      ...given,
      targets: given.targets.map((target) => ({
        ...target,
        async erase(work) {
          if (target.name === 'archive_content' && !gone) {
            gone = true
            await away()
          }
          return target.erase(work)
        },
      })),
    })
    const run = erasingRun(world.api.core, 'org_away_late', canaryIdentifiers, { deps })
    await run.scope()
    await run.erasing.fence(run, nothing)
    await run.erasing.prepare(run, nothing)
    const failure: unknown = await run.erasing.erase(run, nothing).catch((error: unknown) => error)
    expect(failure).toBeInstanceOf(TargetError)
    expect(failureOf(failure)).toMatchObject({ reason: 'archive_unavailable', targets: ['archive_content'] })
    expect(await stateOf('org_away_late')).toBe('erased')
    expect((await run.deps.progress.read(run)).steps.destroy?.doneAt).toBeDefined()
    await back()
    await check(run, ids)
    await run.erasing.erase(run, nothing)
    expect(await run.erasing.verify(run, nothing)).toEqual({ result: 'clean' })
    await check(run, ids, 'end')
  })
})

test('what is left in an object that no segment names is found by the second reader, and goes when it is tried again', async () => {
  const organizationId = 'org_strayed'
  const ids = await seed(organizationId)
  const { core } = world.api
  const [segment] = await segmentsOf(core).find({ organizationId }).toArray()
  const old = await (await core.archive.get(segment?.content?.file.path ?? ''))?.toArray()
  const run = erasingRun(core, organizationId, canaryIdentifiers)
  await run.scope()
  expect(await run.toVerified()).toBe('clean')
  // A rewriting that began before, and whose process died behind its write.
  await core.archive.replace(
    (segment?.content?.file.path ?? '').replace('.content.1.', '.content.7.'),
    Buffer.concat(old as Buffer[]),
  )
  expect(await run.erasing.verify(run, nothing)).toEqual({ result: 'residue', targets: ['archive_content'] })
  await run.erasing.erase(run, nothing)
  expect(await run.erasing.verify(run, nothing)).toEqual({ result: 'clean' })
  await check(run, ids, 'end')
})
