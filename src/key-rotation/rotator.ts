/**
 * The steps of a rotation (contract.ts). If the process dies within one, the next attempt finds what it did:
 *
 *     begin    the period is noted before its file is made: a second attempt makes the file of the same period
 *     switch   one write; whoever comes after it waits out the leases again
 *     rewrap   by ids, each batch on the disks of a majority; what is done is passed over
 *     remove   what is to be deleted is noted before the file goes, and that it is gone after
 *
 * No key is deleted under which anything is left, or where the newer one does not read back from its place.
 */
import type { PeriodKeyFiles } from '../keys/period-key-files.js'
import { createPeriodKey, readPeriodKey, type PeriodKeys } from '../keys/period-keys.js'
import type { PeriodState, PeriodStates } from '../keys/period-state.js'
import type { RootKey } from '../keys/root-key.js'
import { KeyError } from '../keys/wrapping.js'
import type { SystemEventWriter } from '../events/contract.js'
import { systemOrganizationId } from '../organizations/contract.js'
import { keyHolders, leftOf, type KeyHolder, type KeysLeft, type RemoveOutcome } from './contract.js'
import type { KeyHolders } from './holders.js'

/** Where a pass was. */
export interface RewrapPlace {
  readonly holder: KeyHolder
  readonly after: string
  readonly rewrapped: number
}

export interface Rotator {
  /** @param run names the rotation. @returns the period that it makes, or has made. @throws KeyError */
  begin(run: string): Promise<number>
  /** @throws KeyError */
  switch(period: number, beat: () => void): Promise<void>
  /** One pass over everything. @returns how many keys were wrapped anew from `from` on. @throws KeyError */
  rewrap(from: RewrapPlace | undefined, onPlace: (place: RewrapPlace) => void): Promise<number>
  left(): Promise<KeysLeft>
  /** Deletes the keys of periods that were retired before `retiredBefore`. @throws KeyError */
  remove(retiredBefore: Date): Promise<RemoveOutcome>
  /** undefined where the database knows of no periods yet. */
  state(): Promise<PeriodState | undefined>
}

export interface RotatorDependencies {
  readonly files: PeriodKeyFiles
  readonly states: PeriodStates
  readonly root: RootKey
  readonly checkRoot: () => Promise<void>
  readonly periods: PeriodKeys
  readonly holders: KeyHolders
  /** Waits until no process goes by what it read before this call (subjects/fence.ts). */
  readonly waitOutLeases: (beat: () => void) => Promise<void>
  readonly systemEvents: Pick<SystemEventWriter, 'write'>
}

export function createRotator(deps: RotatorDependencies): Rotator {
  const { files, states, root, checkRoot, periods, holders, systemEvents } = deps

  async function required(): Promise<PeriodState> {
    const state = await states.read()
    if (state === undefined) throw new KeyError('period_key_missing', 'the database knows of no period')
    return state
  }

  /** A key that is wrapped under a root key, or lies in a place, that is not the deployment's would be lost at once. */
  async function checkKeys(needed: readonly number[]): Promise<void> {
    await checkRoot()
    for (const period of needed) await readPeriodKey(files, root, period)
  }

  return {
    async begin(run) {
      const state = await required()
      if (state.run === run) return state.current
      const kept = state.retired.filter(({ deleting }) => deleting !== true).map(({ period }) => period)
      await checkKeys([...kept, state.current])
      const newest = Math.max(state.current, state.deletedThrough, ...(await files.list()))
      const { next, current, run: madeBy } = await states.noteNext(newest + 1, run)
      if (next === null) {
        // Another rotation has switched meanwhile: what it made is as new as what was to be made here.
        if (madeBy === null) throw new Error('a period was to be made and was not noted')
        return current
      }
      await createPeriodKey(files, root, next.period)
      return next.period
    },

    async switch(period, beat) {
      await checkKeys([period])
      const { deletedThrough } = await required()
      const there = (await files.list()).filter((one) => one > deletedThrough && one < period)
      await states.switch(period, there)
      await periods.refresh()
      await deps.waitOutLeases(beat)
    },

    async rewrap(from, onPlace) {
      await periods.refresh()
      const under = periods.current
      await checkKeys([under.period])
      let total = 0
      const first = from === undefined ? 0 : keyHolders.indexOf(from.holder)
      for (const holder of keyHolders.slice(first)) {
        await holders.rewrap(holder, {
          under,
          after: from?.holder === holder ? from.after : undefined,
          onBatch({ after, rewrapped }) {
            total += rewrapped
            onPlace({ holder, after, rewrapped: total })
          },
        })
      }
      if (total > 0) await states.addRewrapped(total)
      return total
    },

    async left() {
      return holders.left((await required()).current)
    },

    async remove(retiredBefore) {
      const { current, retired } = await required()
      const due = retired.filter(({ at }) => at <= retiredBefore).map(({ period }) => period)
      const last = due.at(-1)
      if (last === undefined) return { removed: [], left: 0 }
      await checkKeys([current])
      const left = leftOf(await holders.left(last + 1))
      if (left > 0) return { removed: [], left }
      for (const period of due) {
        await states.noteDeleting(period)
        await files.remove(period)
        await systemEvents.write({
          organizationId: systemOrganizationId,
          action: 'annals.key.period_deleted',
          occurredAt: new Date(),
          actor: { type: 'system', id: 'annals' },
          targets: [{ type: 'period_key', id: String(period) }],
          metadata: { period, current },
          onceKey: `period_deleted/${String(period)}`,
        })
        // Last: a process that died before this does all of it again.
        await states.noteDeleted(period)
      }
      await periods.refresh()
      return { removed: due, left: 0 }
    },

    state: () => states.read(),
  }
}
