/**
 * The erasure journal: what was erased in the whole deployment, in order, beside the ledger and apart from the database.
 * By it a database that was restored from an old backup is found out at once, however many organizations there are.
 *
 *     deployment.journal/<sequence, twelve digits>.json
 *
 * An entry is one RFC 8785 JSON text
 *
 *     {"approver":…,"at":…,"kind":…,"manifests":{…},"organizationId":…,"previous":…,"requestId":…,"sequence":…,
 *      "submitter":…,"v":1}
 *
 * with the SHA-256 of the entry before it (64 zeros for the first). `begun` is written before a person's key is destroyed,
 * `erased` when everything that the manifests name is gone, `released` before that goes which an exception had kept,
 * `redacted` before single fields are removed, `offboarded` before
 * the key of a whole organization is destroyed.
 *
 * The database keeps how far it has come with it: `deployment` `{_id: 'erasureJournal', sequence, hash}`. It moves on over
 * entries that the database knows of, in order. An entry behind it that the database knows nothing of is one that a backup
 * has brought back; an entry before it that is not there is a ledger that was set back.
 */
import { hash } from 'node:crypto'
import type { Collection, Db } from 'mongodb'
import { z } from 'zod'
import { ArchiveStoreError, type ArchiveStore } from '../archive/stores/contract.js'
import { canonicalJson } from '../events/canonical-json.js'
import { collectionNames } from '../mongo/collections.js'
import { LedgerError } from './ledger.js'
import { sourceOf } from './manifests.js'

export const journalKinds = ['begun', 'erased', 'released', 'redacted', 'offboarded'] as const
export type JournalKind = (typeof journalKinds)[number]

export interface JournalNote {
  readonly kind: JournalKind
  readonly organizationId: string
  /** `erasure_…`, `redaction_…` or `offboarding_…` */
  readonly requestId: string
  /** `prn_…` of the two who stand behind it. */
  readonly submitter: string
  readonly approver: string
  /**
   * SHA-256 of the manifests, 64 hex digits each: `subjects` of an erasure, `text` once it is `erased`, `released` of what
   * an exception had kept, or `fields` of a redaction.
   */
  readonly manifests: {
    readonly subjects?: string
    readonly text?: string
    readonly released?: string
    readonly fields?: string
  }
}

export interface JournalEntry extends JournalNote {
  /** From 1. */
  readonly sequence: number
  /** RFC 3339 */
  readonly at: string
  readonly previous: string
  /** SHA-256 of its bytes, 64 hex digits. */
  readonly hash: string
}

/**
 * `fits`: the database knows of every entry. `erasures_unapplied`: it does not, so it is older than the journal.
 * `ledger_behind`: an entry that the database knows is not there, or is another: the ledger is older, or not this one.
 * `ledger_damaged`: entries do not follow from each other, so that nobody can tell.
 */
export type JournalComparison = 'fits' | 'erasures_unapplied' | 'ledger_behind' | 'ledger_damaged'

export interface ErasureJournal {
  /** Enters something, once. @throws ArchiveStoreError; LedgerError, too where the database is older than the journal */
  note(note: JournalNote): Promise<void>
  /** Compares both ways; the database moves on over what it knows of. @throws ArchiveStoreError */
  compare(): Promise<JournalComparison>
  /** The entries that the database has not come to. @throws ArchiveStoreError; LedgerError where they do not hang together */
  ahead(): AsyncGenerator<JournalEntry>
  /** The database has what the next entry says. */
  moveTo(entry: JournalEntry): Promise<void>
}

export interface ErasureJournalDependencies {
  readonly db: Db
  readonly store: ArchiveStore
  /** Does the database know of it? Then it, or the request's workflow, has removed or will remove what it names. */
  readonly knows: (note: JournalNote) => Promise<boolean>
  readonly now?: () => Date
}

interface HeadDocument {
  readonly _id: 'erasureJournal'
  readonly sequence: number
  readonly hash: string
}

const hex = z.string().regex(/^[0-9a-f]{64}$/)
const entrySchema = z.strictObject({
  v: z.literal(1),
  kind: z.enum(journalKinds),
  organizationId: z.string(),
  requestId: z.string(),
  submitter: z.string(),
  approver: z.string(),
  manifests: z.strictObject({
    subjects: hex.exactOptional(),
    text: hex.exactOptional(),
    released: hex.exactOptional(),
    fields: hex.exactOptional(),
  }),
  sequence: z.int().positive(),
  at: z.string(),
  previous: hex,
})

const first = '0'.repeat(64)
const maxEntryBytes = 16 * 1024
const maxRaces = 20
const pathOf = (sequence: number) => `deployment.journal/${String(sequence).padStart(12, '0')}.json`

export function createErasureJournal(deps: ErasureJournalDependencies): ErasureJournal {
  const { db, store, knows, now = () => new Date() } = deps
  const heads: Collection<HeadDocument> = db.collection(collectionNames.deployment)
  const _id = 'erasureJournal'

  const head = async (): Promise<Pick<HeadDocument, 'sequence' | 'hash'>> =>
    (await heads.findOne({ _id })) ?? { sequence: 0, hash: first }

  async function read(sequence: number): Promise<Buffer | undefined> {
    const stream = await store.get(pathOf(sequence))
    if (stream === undefined) return undefined
    const chunks: Buffer[] = []
    let bytes = 0
    for await (const chunk of stream) {
      const part = Buffer.from(chunk as Uint8Array)
      bytes += part.length
      if (bytes > maxEntryBytes) throw damaged(sequence)
      chunks.push(part)
    }
    return Buffer.concat(chunks)
  }

  async function* ahead(): AsyncGenerator<JournalEntry> {
    const from = await head()
    let previous = from.hash
    for (let sequence = from.sequence + 1; ; sequence += 1) {
      const bytes = await read(sequence)
      if (bytes === undefined) return
      const parsed = entrySchema.safeParse(jsonOf(bytes))
      if (!parsed.success || parsed.data.sequence !== sequence || parsed.data.previous !== previous)
        throw damaged(sequence)
      previous = hash('sha256', bytes, 'hex')
      yield { ...parsed.data, hash: previous }
    }
  }

  async function moveTo({ sequence, hash: reached }: JournalEntry): Promise<void> {
    if (sequence === 1)
      await heads.updateOne({ _id }, { $setOnInsert: { sequence, hash: reached } }, { upsert: true })
    // Another process may have come further.
    else await heads.updateOne({ _id, sequence: sequence - 1 }, { $set: { sequence, hash: reached } })
  }

  /** Is what the database came to last still there? */
  async function headStands(): Promise<boolean> {
    const { sequence, hash: reached } = await head()
    if (sequence === 0) return true
    const bytes = await read(sequence)
    return bytes !== undefined && hash('sha256', bytes, 'hex') === reached
  }

  return {
    async note(note) {
      const { kind, requestId, manifests } = note
      // A request may be released from several holds, one after the other.
      const isThis = (entry: JournalEntry) =>
        entry.kind === kind &&
        entry.requestId === requestId &&
        entry.manifests.released === manifests.released
      for (let race = 0; race < maxRaces; race += 1) {
        if (!(await headStands())) throw new LedgerError('the ledger is behind the database')
        let last = await head()
        let entered = false
        for await (const entry of ahead()) {
          if (isThis(entry)) entered = true
          else if (!(await knows(entry))) throw new LedgerError('the database is older than the ledger')
          await moveTo(entry)
          last = entry
        }
        if (entered) return
        const sequence = last.sequence + 1
        const body = {
          v: 1,
          ...note,
          manifests: { ...note.manifests },
          sequence,
          at: now().toISOString(),
          previous: last.hash,
        }
        const bytes = Buffer.from(canonicalJson(body))
        try {
          const options = { sha256: hash('sha256', bytes, 'buffer'), bytes: bytes.length }
          await store.put(pathOf(sequence), sourceOf(bytes), options)
        } catch (error) {
          // Another request's entry was quicker.
          if (error instanceof ArchiveStoreError && error.code === 'exists') continue
          throw error
        }
        await moveTo({
          ...note,
          sequence,
          at: body.at,
          previous: last.hash,
          hash: hash('sha256', bytes, 'hex'),
        })
        return
      }
      throw new LedgerError('others append to the journal all the time')
    },

    async compare() {
      if (!(await headStands())) return 'ledger_behind'
      try {
        for await (const entry of ahead()) {
          if (!(await knows(entry))) return 'erasures_unapplied'
          await moveTo(entry)
        }
      } catch (error) {
        if (error instanceof LedgerError) return 'ledger_damaged'
        throw error
      }
      return 'fits'
    },
    ahead,
    moveTo,
  }
}

const damaged = (sequence: number) =>
  new LedgerError(`entry ${String(sequence)} of the journal does not follow from the one before`)

function jsonOf(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'))
  } catch {
    return undefined
  }
}
