/**
 * Checkpoint copies in an archive store: an object for each log, so that only what changed is written.
 *
 *     <first two hex digits>/<SHA-256 of the name, in hex>      the name on the first line, then the note
 *
 * Names are hashed because file systems differ in what they take for the same name; two digits keep folders small.
 */
import { hash } from 'node:crypto'
import type { ArchiveStore } from '../../archive/stores/contract.js'
import type { CheckpointCopies, CopyName } from './copies.js'

const pathShape = /^[0-9a-f]{2}\/[0-9a-f]{64}$/
/** A note with every cosignature that fits on it is a few kilobytes. */
const maxBytes = 65_536
/** Names are inside the objects: so many are read at once. */
const readAtOnce = 16

export function createStoredCopies(
  store: Pick<ArchiveStore, 'get' | 'list' | 'replace' | 'delete'>,
): CheckpointCopies {
  const pathOf = (name: CopyName): string => {
    const digest = hash('sha256', name)
    return `${digest.slice(0, 2)}/${digest}`
  }

  async function readNamed(path: string): Promise<{ name: CopyName; note: string } | undefined> {
    const stream = await store.get(path, { offset: 0, length: maxBytes })
    if (stream === undefined) return undefined
    const text = Buffer.concat(await stream.toArray()).toString('utf8')
    const end = text.indexOf('\n')
    const name = text.slice(0, Math.max(end, 0))
    return { name: isCopyName(name) ? name : 'org/', note: text.slice(end + 1) }
  }

  async function* paths(): AsyncGenerator<string[]> {
    let batch: string[] = []
    for await (const { path } of store.list('')) {
      if (!pathShape.test(path)) continue
      batch.push(path)
      if (batch.length < readAtOnce) continue
      yield batch
      batch = []
    }
    yield batch
  }

  return {
    async read(name) {
      const found = await readNamed(pathOf(name))
      // An object that is not whole is a copy all the same: one that nothing can be compared with.
      return found === undefined || found.name === name ? found?.note : ''
    },
    write: (name, note) => store.replace(pathOf(name), Buffer.from(`${name}\n${note}`)),
    remove: (name) => store.delete(pathOf(name)),
    async *names() {
      for await (const batch of paths()) {
        for (const found of await Promise.all(batch.map(readNamed))) {
          if (found !== undefined) yield found.name
        }
      }
    },
  }
}

const isCopyName = (name: string): name is CopyName =>
  name === 'anchor' || /^org\/[A-Za-z0-9_-]{1,64}$/.test(name)
