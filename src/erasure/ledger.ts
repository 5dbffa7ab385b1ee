/**
 * The erasure ledger: every erasure of an organization, in order, apart from the database (`ANNALS_LEDGER_URL`). A
 * database that was restored from before an erasure is found by it.
 *
 *     <org>/erasures/<requestId>.subjects.json, .text.json     the manifests (manifests.ts)
 *     <org>/ledger/<sequence, twelve digits>.json              an entry
 *
 * An entry is one RFC 8785 JSON text
 *
 *     {"at":…,"manifests":{"subjects":…,"text":…},"organizationId":…,"previous":…,"requestId":…,"sequence":…,"v":1}
 *
 * with the SHA-256 of the manifests and of the entry before it (64 hex digits; 64 zeros for the first). Objects are
 * written once, so that of two writers at one place one is refused, and goes to the next: the chain cannot fork.
 */
import { hash } from 'node:crypto'
import { z } from 'zod'
import { ArchiveStoreError, type ArchiveStore } from '../archive/stores/contract.js'
import { canonicalJson } from '../events/canonical-json.js'
import type { ErasureReference } from './contract.js'
import { sourceOf, type Manifest } from './manifests.js'

export interface LedgerEntry extends ErasureReference {
  /** From 1. */
  readonly sequence: number
  /** RFC 3339 */
  readonly at: string
  readonly manifests: { readonly subjects: string; readonly text: string }
  readonly previous: string
}

/** An entry with the SHA-256 of its bytes: 64 hex digits. */
export interface EnteredEntry extends LedgerEntry {
  readonly hash: string
}

/** The ledger says something else than was to be written, or does not hang together. */
export class LedgerError extends Error {
  override readonly name = 'LedgerError'
}

export interface ErasureLedger {
  /** Keeps a manifest; the same bytes again are fine. @throws ArchiveStoreError; LedgerError where others are there */
  putManifest(manifest: Manifest): Promise<void>
  /** The bytes of a manifest; undefined where there is none. */
  manifest(path: string): Promise<Buffer | undefined>
  /** Appends, unless the request has its entry. @throws ArchiveStoreError; LedgerError */
  append(entry: Pick<LedgerEntry, 'organizationId' | 'requestId' | 'at' | 'manifests'>): Promise<EnteredEntry>
  /** The place of an organization's newest entry; 0 where it has none. */
  newest(organizationId: string): Promise<number>
  /** Every entry of an organization, in order. @throws LedgerError where the chain is broken */
  entries(organizationId: string): AsyncIterable<LedgerEntry>
}

const hex = z.string().regex(/^[0-9a-f]{64}$/)
const entrySchema = z.strictObject({
  v: z.literal(1),
  organizationId: z.string(),
  requestId: z.string(),
  sequence: z.int().positive(),
  at: z.string(),
  manifests: z.strictObject({ subjects: hex, text: hex }),
  previous: hex,
})

const first = '0'.repeat(64)
/** Manifests of millions of fields are still read in one piece. */
const maxManifestBytes = 512 * 1024 * 1024
const maxRaces = 20

export function createErasureLedger(store: ArchiveStore): ErasureLedger {
  const pathOf = (organizationId: string, sequence: number) =>
    `${organizationId}/ledger/${String(sequence).padStart(12, '0')}.json`

  async function read(path: string): Promise<Buffer | undefined> {
    const stream = await store.get(path)
    if (stream === undefined) return undefined
    const chunks: Buffer[] = []
    let bytes = 0
    for await (const chunk of stream) {
      const part = Buffer.from(chunk as Uint8Array)
      bytes += part.length
      if (bytes > maxManifestBytes) throw new LedgerError('an object of the ledger is larger than any can be')
      chunks.push(part)
    }
    return Buffer.concat(chunks)
  }

  async function* entries(organizationId: string): AsyncGenerator<EnteredEntry> {
    let previous = first
    for (let sequence = 1; ; sequence += 1) {
      const bytes = await read(pathOf(organizationId, sequence))
      if (bytes === undefined) return
      const parsed = entrySchema.safeParse(jsonOf(bytes))
      if (!parsed.success || parsed.data.sequence !== sequence || parsed.data.previous !== previous)
        throw new LedgerError(`entry ${String(sequence)} does not follow from the one before`)
      previous = hash('sha256', bytes, 'hex')
      yield { ...parsed.data, hash: previous }
    }
  }

  const put = (path: string, bytes: Buffer) =>
    store.put(path, sourceOf(bytes), { sha256: hash('sha256', bytes, 'buffer'), bytes: bytes.length })

  return {
    async putManifest({ path, bytes }) {
      try {
        await put(path, bytes)
      } catch (error) {
        if (error instanceof ArchiveStoreError && error.code === 'exists')
          throw new LedgerError('another manifest stands under the name of this one')
        throw error
      }
      const kept = await read(path)
      if (kept?.equals(bytes) !== true)
        throw new LedgerError('a manifest does not read back as it was written')
    },
    manifest: read,
    async append({ organizationId, requestId, at, manifests }) {
      for (let race = 0; race < maxRaces; race += 1) {
        let last: { readonly sequence: number; readonly hash: string } = { sequence: 0, hash: first }
        for await (const entry of entries(organizationId)) {
          if (entry.requestId === requestId) return entry
          last = entry
        }
        const sequence = last.sequence + 1
        const entry = { organizationId, requestId, sequence, at, manifests, previous: last.hash }
        try {
          const bytes = Buffer.from(canonicalJson({ v: 1, ...entry }))
          await put(pathOf(organizationId, sequence), bytes)
          return { ...entry, hash: hash('sha256', bytes, 'hex') }
        } catch (error) {
          // Another request's entry was quicker.
          if (!(error instanceof ArchiveStoreError) || error.code !== 'exists') throw error
        }
      }
      throw new LedgerError('others append to the ledger all the time')
    },
    async newest(organizationId) {
      let newest = 0
      for await (const { path } of store.list(`${organizationId}/ledger/`))
        newest = Math.max(newest, Number(/(\d{12})\.json$/.exec(path)?.[1] ?? 0))
      return newest
    },
    entries,
  }
}

function jsonOf(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'))
  } catch {
    return undefined
  }
}
