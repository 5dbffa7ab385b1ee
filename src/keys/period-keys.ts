/**
 * Period keys: one secret per deployment and period, kept outside MongoDB.
 *
 * A subject's key is wrapped under a key derived from the organization's key *and* a period key. A database's
 * oplog, snapshots and backups keep deleted documents, so an erased subject's wrapped key is out of reach for
 * good only when the survivors were re-wrapped under a newer period key and the old one was deleted. That is
 * why these never lie in the database. Here: a folder, one file per period, `00000001.key`, …
 */
import { randomBytes } from 'node:crypto'
import { mkdir, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createFileOnce } from './key-files.js'
import type { RootKey } from './root-key.js'
import { KeyError } from './wrapping.js'

export interface PeriodKey {
  /** Counts from 1. */
  readonly period: number
  /** 32 bytes. */
  readonly secret: Buffer
}

export interface PeriodKeys {
  /** The newest: what new subject keys are wrapped under. */
  readonly current: PeriodKey
  /** @throws KeyError `period_key_missing` where that period's key was deleted or is not mounted here */
  get(period: number): PeriodKey
}

const fileName = (period: number) => `${String(period).padStart(8, '0')}.key`
const purpose = (period: number) => `annals/period/v1/${String(period)}`

/** Makes the first period key unless the folder holds one. */
export async function ensureFirstPeriodKey(keysUrl: string, root: RootKey): Promise<void> {
  const folder = fileURLToPath(keysUrl)
  await mkdir(folder, { recursive: true, mode: 0o700 })
  if ((await listPeriods(folder)).length > 0) return
  const wrapped = await root.wrap(randomBytes(32), purpose(1))
  await createFileOnce(join(folder, fileName(1)), `${wrapped.toString('base64')}\n`)
}

/**
 * Reads every period key of the folder.
 * @throws KeyError `period_key_missing` where there is none, `cannot_open` where the root key is another one
 */
export async function readPeriodKeys(keysUrl: string, root: RootKey): Promise<PeriodKeys> {
  const folder = fileURLToPath(keysUrl)
  const keys = new Map<number, PeriodKey>()
  for (const period of await listPeriods(folder)) {
    const wrapped = Buffer.from((await readFile(join(folder, fileName(period)), 'utf8')).trim(), 'base64')
    keys.set(period, { period, secret: await root.unwrap(wrapped, purpose(period)) })
  }
  const current = keys.get(Math.max(...keys.keys()))
  if (current === undefined) {
    throw new KeyError('period_key_missing', `no period key lies in ${folder} (ANNALS_KEYS_URL)`)
  }
  return {
    current,
    get(period) {
      const key = keys.get(period)
      if (key === undefined) {
        throw new KeyError(
          'period_key_missing',
          `the key of period ${String(period)} is not in ${folder} (ANNALS_KEYS_URL)`,
        )
      }
      return key
    },
  }
}

async function listPeriods(folder: string): Promise<number[]> {
  let names: string[]
  try {
    names = await readdir(folder)
  } catch {
    return []
  }
  return names.filter((name) => /^\d{8}\.key$/.test(name)).map((name) => Number(name.slice(0, 8)))
}
