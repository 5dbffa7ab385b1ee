/** Rotations of the period key without Temporal and without the seconds that leases take, and what must hold after them. */
import { expect } from 'vitest'
import type { Core } from '../../src/composition.js'
import type { Config } from '../../src/config.js'
import { createKeyHolders } from '../../src/key-rotation/holders.js'
import { createRotator, type Rotator, type RotatorDependencies } from '../../src/key-rotation/rotator.js'
import { leftOf } from '../../src/key-rotation/contract.js'
import { openKeyring } from '../../src/keys/keyring.js'

const nothing = () => undefined

/** A rotator with period keys of its own, as another process has them. */
export async function rotatorOf(
  core: Core,
  config: Config,
  replace: (deps: RotatorDependencies) => RotatorDependencies = (deps) => deps,
): Promise<Rotator> {
  const { rotating, periods } = await openKeyring(core.db, config.keys)
  const holders = createKeyHolders({ db: core.db, periods, keysetOf: core.erasing.deps.keysetOf })
  const waitOutLeases = () => Promise.resolve()
  return createRotator(
    replace({ ...rotating, periods, holders, waitOutLeases, systemEvents: core.systemEvents }),
  )
}

/** The steps in the order of the workflow, each tried again as Temporal would, by a new process. */
export async function rotate(
  open: () => Promise<Rotator>,
  options: { readonly run?: string; readonly overlapMs?: number; readonly attempts?: number } = {},
): Promise<{ readonly period: number; readonly rewrapped: number; readonly removed: readonly number[] }> {
  const { run = 'run-1', overlapMs = 0, attempts = 1 } = options
  const step = async <T>(body: (rotator: Rotator) => Promise<T>): Promise<T> => {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await body(await open())
      } catch (error) {
        if (attempt >= attempts) throw error
      }
    }
  }
  const period = await step((rotator) => rotator.begin(run))
  await step((rotator) => rotator.switch(period, nothing))
  const rewrapped = await step((rotator) => rotator.rewrap(undefined, nothing))
  expect(leftOf(await step((rotator) => rotator.left()))).toBe(0)
  const { removed, left } = await step((rotator) => rotator.remove(new Date(Date.now() - overlapMs)))
  expect(left).toBe(0)
  return { period, rewrapped, removed }
}

/** Nothing lies under another period than this one, and no other key is kept. */
export async function checkOnlyPeriod(core: Core, period: number): Promise<void> {
  const { files, states } = core.keyring.rotating
  expect(await files.list()).toEqual([period])
  expect(await states.read()).toMatchObject({
    current: period,
    next: null,
    retired: [],
    deletedThrough: period - 1,
  })
  for (const [name, path] of [
    ['subjects', 'key'],
    ['erasureRequests', 'key'],
    ['erasureProgress', 'workKey'],
    ['erasureProgress', 'restrictedKey'],
  ] as const) {
    const elsewhere = { [`${path}.period`]: { $exists: true, $ne: period } }
    expect(await core.db.collection(name).countDocuments(elsewhere), `${name}.${path}`).toBe(0)
  }
}
