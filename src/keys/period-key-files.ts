/**
 * Where period keys lie: a folder, one file per period, `00000001.key`, each sealed under the root key.
 *
 * What was deleted here must be gone: keep the folder off volumes that keep snapshots or versions.
 */
import { mkdir, open, readdir, readFile, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createFileOnce } from './key-files.js'

export interface PeriodKeyFiles {
  /** The folder, for messages to the operator at the machine. */
  readonly place: string
  /** The periods that have a file, ascending; none where the folder is not there. */
  list(): Promise<number[]>
  /** The sealed key of a period; undefined where there is no file. */
  read(period: number): Promise<Buffer | undefined>
  /** Keeps a sealed key unless the period has one; on disk when it returns. */
  create(period: number, sealed: Uint8Array): Promise<void>
  /** Deletes a period's file, and what a writer that died left of it. @throws Error where one is still there */
  remove(period: number): Promise<void>
}

const fileName = (period: number) => `${String(period).padStart(8, '0')}.key`

export function periodKeyFiles(keysUrl: string): PeriodKeyFiles {
  const place = fileURLToPath(keysUrl)

  async function names(): Promise<string[]> {
    try {
      return await readdir(place)
    } catch (error) {
      if (isAbsent(error)) return []
      throw error
    }
  }

  const ofPeriod = (name: string, period: number) =>
    name === fileName(period) || name.startsWith(`${fileName(period)}.`)

  return {
    place,
    async list() {
      const found = (await names()).filter((name) => /^\d{8}\.key$/.test(name))
      return found.map((name) => Number(name.slice(0, 8))).sort((a, b) => a - b)
    },
    async read(period) {
      try {
        return Buffer.from((await readFile(join(place, fileName(period)), 'utf8')).trim(), 'base64')
      } catch (error) {
        if (isAbsent(error)) return undefined
        throw error
      }
    },
    async create(period, sealed) {
      await mkdir(place, { recursive: true, mode: 0o700 })
      await createFileOnce(join(place, fileName(period)), `${Buffer.from(sealed).toString('base64')}\n`)
    },
    async remove(period) {
      for (const name of await names()) {
        if (!ofPeriod(name, period)) continue
        await unlink(join(place, name)).catch((error: unknown) => {
          if (!isAbsent(error)) throw error
        })
      }
      const folder = await open(place, 'r')
      try {
        await folder.sync()
      } finally {
        await folder.close()
      }
      if ((await names()).some((name) => ofPeriod(name, period)))
        throw new Error('a period key that was deleted is still there')
    },
  }
}

const isAbsent = (error: unknown) => error instanceof Error && 'code' in error && error.code === 'ENOENT'
