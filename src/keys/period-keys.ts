/**
 * Period keys: one secret per deployment and period, kept outside MongoDB.
 *
 * A subject's key is wrapped under a key derived from the organization's key *and* a period key. A database's
 * oplog, snapshots and backups keep deleted documents, so an erased subject's wrapped key is out of reach for
 * good only when the survivors were re-wrapped under a newer period key and the old one was deleted. That is
 * why these never lie in the database.
 *
 * A process goes by what it read of the current period for the length of a lease, and looks again after its write: a
 * rotation waits out every lease before it wraps anew what is left under the old period (docs/keys.md).
 */
import { randomBytes } from 'node:crypto'
import type { ClientSession } from 'mongodb'
import { Lease, type Clock } from '../subjects/leases.js'
import type { PeriodKeyFiles } from './period-key-files.js'
import type { PeriodState, PeriodStates } from './period-state.js'
import type { RootKey } from './root-key.js'
import { KeyError } from './wrapping.js'

export interface PeriodKey {
  /** Counts from 1. */
  readonly period: number
  /** 32 bytes. */
  readonly secret: Buffer
}

/** What a key may be wrapped under, and until when: to be looked at again once the wrapped key is committed. */
export interface CurrentPeriod {
  readonly key: PeriodKey
  readonly lease: Lease
}

export interface PeriodKeys {
  /** The newest, as this process last saw it: for what is pinned in a transaction; everything else asks `use`. */
  readonly current: PeriodKey
  /** @throws KeyError `period_key_missing` where that period's key was deleted, is not mounted here, or was not read */
  get(period: number): PeriodKey
  /** Reads the keys of periods that this process has not met yet. @throws KeyError `period_key_missing` | `cannot_open` */
  ensure(periods: Iterable<number>): Promise<void>
  /** The current period, under a lease. @throws KeyError */
  use(): Promise<CurrentPeriod>
  /** Looks which period is the current one, whatever this process believes. @throws KeyError */
  refresh(): Promise<void>
  /** Holds the current period still until the transaction ends. @throws PeriodMovedError where it is another */
  pin(period: number, session: ClientSession): Promise<void>
  /**
   * Did a rotation delete the key of this period? Never because a file is not found: a folder that is not mounted must
   * not look like a deletion. False, too, where the file is back.
   */
  isDeleted(period: number): Promise<boolean>
}

const purpose = (period: number) => `annals/period/v1/${String(period)}`

export interface PeriodKeyDependencies {
  readonly files: PeriodKeyFiles
  readonly states: PeriodStates
  readonly root: RootKey
  readonly clock: Clock
}

/** Makes the first period key unless there is one. */
export async function ensureFirstPeriodKey(files: PeriodKeyFiles, root: RootKey): Promise<void> {
  if ((await files.list()).length === 0) await createPeriodKey(files, root, 1)
}

/** Makes the key of a period unless it has one, and reads it back. @throws KeyError `cannot_open` */
export async function createPeriodKey(files: PeriodKeyFiles, root: RootKey, period: number): Promise<void> {
  await files.create(period, await root.wrap(randomBytes(32), purpose(period)))
  await readPeriodKey(files, root, period)
}

/** @throws KeyError `period_key_missing` | `cannot_open` where the root key is another one */
export async function readPeriodKey(
  files: PeriodKeyFiles,
  root: RootKey,
  period: number,
): Promise<PeriodKey> {
  const sealed = await files.read(period)
  if (sealed === undefined) throw missing(files, period)
  return { period, secret: await root.unwrap(sealed, purpose(period)) }
}

/**
 * Opens the period keys that the database is wrapped under.
 * @throws KeyError `period_key_missing` where one is not there, `cannot_open` where the root key is another one
 */
export async function openPeriodKeys(deps: PeriodKeyDependencies): Promise<PeriodKeys> {
  const { files, states, root, clock } = deps
  const keys = new Map<number, PeriodKey>()
  let seen: { readonly state: PeriodState; readonly lease: Lease }
  let looking: Promise<void> | undefined

  async function ensure(periods: Iterable<number>): Promise<void> {
    for (const period of periods)
      if (!keys.has(period)) keys.set(period, await readPeriodKey(files, root, period))
  }

  async function look(): Promise<void> {
    const lease = new Lease(clock)
    const state = await states.read()
    if (state === undefined)
      throw new KeyError('period_key_missing', 'the database does not say which period is the current one')
    const kept = state.retired.filter(({ deleting }) => deleting !== true)
    await ensure([...kept.map(({ period }) => period), state.current])
    for (const period of keys.keys()) if (period <= state.deletedThrough) keys.delete(period)
    seen = { state, lease }
  }

  const lookTogether = () => (looking ??= look().finally(() => (looking = undefined)))

  async function refresh(): Promise<void> {
    // Who asks while somebody looks must not get what was read before it asked.
    if (looking !== undefined) await looking.catch(() => undefined)
    await lookTogether()
  }

  await look()

  function get(period: number): PeriodKey {
    const key = keys.get(period)
    if (key === undefined) throw missing(files, period)
    return key
  }

  return {
    get current() {
      return get(seen.state.current)
    },
    get,
    ensure,
    async use() {
      if (!seen.lease.fresh) await lookTogether()
      return { key: get(seen.state.current), lease: seen.lease }
    },
    refresh,
    pin: (period, session) => states.pin(period, session),
    async isDeleted(period) {
      const state = await states.read()
      return state !== undefined && period <= state.deletedThrough && !(await files.list()).includes(period)
    },
  }
}

const missing = ({ place }: PeriodKeyFiles, period: number) =>
  new KeyError(
    'period_key_missing',
    `the key of period ${String(period)} is not in ${place} (ANNALS_KEYS_URL): nothing was erased; put it back, ` +
      'or, where the database is a backup from before that key was rotated away, restore a newer one (docs/keys.md)',
  )
