/**
 * Checkpoint copies in a folder: a file for each log, so that only what changed is written.
 *
 *     <folder>/<first two hex digits>/<SHA-256 of the name, in hex>      the name on the first line, then the note
 *
 * Names are hashed because file systems differ in what they take for the same name; two digits keep folders small.
 */
import { hash, randomUUID } from 'node:crypto'
import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { CheckpointCopies, CopyName } from './copies.js'

const partShape = /^[0-9a-f]{2}$/
const fileShape = /^[0-9a-f]{64}$/

export function createCopiesFolder(folder: string): CheckpointCopies {
  const fileOf = (name: CopyName): string => {
    const digest = hash('sha256', name)
    return join(folder, digest.slice(0, 2), digest)
  }

  async function readNamed(file: string): Promise<{ name: CopyName; note: string } | undefined> {
    const text = await readFile(file, 'utf8').catch(ignoreMissing)
    if (text === undefined) return undefined
    const end = text.indexOf('\n')
    const name = text.slice(0, Math.max(end, 0))
    return { name: isCopyName(name) ? name : 'org/', note: text.slice(end + 1) }
  }

  return {
    async read(name) {
      const found = await readNamed(fileOf(name))
      // A file that is not whole is a copy all the same: one that nothing can be compared with.
      return found === undefined || found.name === name ? found?.note : ''
    },
    async write(name, note) {
      const file = fileOf(name)
      await mkdir(dirname(file), { recursive: true, mode: 0o700 })
      const temporary = `${file}.${randomUUID()}.tmp`
      try {
        await writeDurably(temporary, `${name}\n${note}`)
        await rename(temporary, file)
      } catch (error) {
        await rm(temporary, { force: true })
        throw error
      }
      await syncFolder(dirname(file))
    },
    async remove(name) {
      const file = fileOf(name)
      await rm(file, { force: true })
      await syncFolder(dirname(file)).catch(ignoreMissing)
    },
    async *names() {
      for (const part of (await readdir(folder).catch(ignoreMissing)) ?? []) {
        if (!partShape.test(part)) continue
        for (const file of (await readdir(join(folder, part)).catch(ignoreMissing)) ?? []) {
          // What a process that died left under its temporary name is no copy.
          if (!fileShape.test(file)) continue
          const found = await readNamed(join(folder, part, file))
          if (found !== undefined) yield found.name
        }
      }
    },
  }
}

const isCopyName = (name: string): name is CopyName =>
  name === 'anchor' || /^org\/[A-Za-z0-9_-]{1,64}$/.test(name)

async function writeDurably(file: string, text: string): Promise<void> {
  const handle = await open(file, 'wx', 0o600)
  try {
    await handle.writeFile(text)
    // The bytes are on disk before the name is.
    await handle.sync()
  } finally {
    await handle.close()
  }
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Only what is certainly not there: whoever cannot look does not know. */
function ignoreMissing(error: unknown): undefined {
  if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
  throw error
}
