/** What every target of an erasure must do: run for each one of the registry, on what the whole product put there. */
import { BSON } from 'mongodb'
import { expect } from 'vitest'
import type { Core } from '../../src/composition.js'
import type { ErasureTarget, ErasureWork } from '../../src/erasure/targets/contract.js'

export interface TargetCase {
  readonly core: Core
  /** The key is destroyed, free text is listed, and no target has removed anything. */
  readonly work: ErasureWork
  readonly target: ErasureTarget
  /** Words that stand in whatever is the person's, and nowhere else. */
  readonly canaries: readonly string[]
}

/** Erases by one target alone, twice, and holds what it changed to its contract. */
export async function checkTarget({ core, work, target, canaries }: TargetCase): Promise<void> {
  const { organizationId, subjects } = work
  const theirs = await documents(core, (document) => document['organizationId'] !== organizationId)
  const others = () =>
    documents(
      core,
      (document, text) =>
        document['organizationId'] === organizationId &&
        ![...subjects, ...canaries].some((word) => text.includes(word)),
    )
  const ofOthers = await others()
  expect(await target.verify(work), 'nothing was there to erase').toBeGreaterThan(0)

  const removed = await target.erase(work)
  expect(removed).toBeGreaterThan(0)
  expect(await target.verify(work), 'something is left').toBe(0)
  const once = await documents(core, () => true)

  expect(await target.erase(work), 'a repeat removed something').toBe(0)
  expect(await target.verify(work)).toBe(0)
  expect(await documents(core, () => true), 'a repeat changed something').toEqual(once)

  const theirsAfter = await documents(core, (document) => document['organizationId'] !== organizationId)
  expect(theirsAfter, 'another organization’s was changed').toEqual(theirs)
  const after = await others()
  for (const [id, text] of ofOthers)
    if (!id.startsWith('archiveSegments/')) expect(after.get(id), `${id} was somebody else’s`).toBe(text)
}

export interface LookedAtCase {
  /** Holds something of the person. */
  readonly target: ErasureTarget
  readonly work: ErasureWork
  /** What an operator does about it. */
  readonly takeOut: () => Promise<void>
}

/** A target that Annals removes nothing from: erasing takes nothing out of it, and says so. */
export async function checkLookedAt({ target, work, takeOut }: LookedAtCase): Promise<void> {
  const left = await target.verify(work)
  expect(left, 'nothing was found').toBeGreaterThan(0)
  expect(await target.scope(work)).toBe(left)
  expect(await target.erase(work)).toBe(0)
  expect(await target.verify(work), 'erasing took something out').toBe(left)
  await takeOut()
  expect(await target.verify(work), 'something is left').toBe(0)
}

/** Moments at which other duties look, and what they count: nothing of anybody. */
const moving: ReadonlySet<string> = new Set(['lifecycles', 'logHeads', 'accessKeys', 'archiveClaims'])

async function documents(
  core: Core,
  wanted: (document: Record<string, unknown>, text: string) => boolean,
): Promise<Map<string, string>> {
  const found = new Map<string, string>()
  const names = await core.db.listCollections({}, { nameOnly: true }).toArray()
  for (const { name } of names) {
    if (moving.has(name)) continue
    for await (const document of core.db.collection(name).find({})) {
      const text = Buffer.from(BSON.serialize(document)).toString('latin1')
      if (wanted(document, text)) found.set(`${name}/${String(document._id)}`, text)
    }
  }
  return found
}
