/**
 * Keys of logs that the manifests of an archive name. A manifest names those that had signed until it was written, and one key
 * signs all logs of a deployment: so the newest one of each log says whose signatures count in proofs that were put there
 * years after the segment that they are about.
 */
import type { SegmentRange } from '../archive/contract.js'
import { SegmentFault } from '../archive/segment-fault.js'
import { openRecordsManifest } from '../archive/segment-manifest.js'
import { recordsManifestPath } from '../archive/segment-paths.js'
import { readObject } from '../archive/segment-reader.js'
import type { ArchiveStore } from '../archive/stores/contract.js'
import { maxNoteBytes, type Verifier } from '../transparency-log/note.js'
import { nameOfOrigin } from './trust.js'

/** A key is rotated once a year or so. */
const maxKeys = 1_000

export class ArchivedLogKeys {
  readonly #keys = new Map<string, string>()

  /** The verifier keys, one text for each key and deployment, whatever log it was named for. */
  get all(): readonly string[] {
    return [...this.#keys.values()]
  }

  /** Of a manifest that holds. */
  add(logKeys: readonly string[]): void {
    for (const text of logKeys) {
      const [name = '', , ...key] = text.split('+')
      const id = `${nameOfOrigin(name)?.deployment ?? name} ${key.join('+')}`
      if (this.#keys.size < maxKeys && !this.#keys.has(id)) this.#keys.set(id, text)
    }
  }

  /** Reads the manifest of a segment, before its turn; one that does not hold names none. @throws ArchiveStoreError */
  async read(
    store: Pick<ArchiveStore, 'get'>,
    range: SegmentRange,
    verifiers: readonly Verifier[],
  ): Promise<void> {
    try {
      const note = await readObject(store, recordsManifestPath(range), maxNoteBytes)
      if (note !== undefined) this.add(openRecordsManifest(note, range, verifiers).manifest.logKeys)
    } catch (error) {
      if (!(error instanceof SegmentFault)) throw error
    }
  }
}
