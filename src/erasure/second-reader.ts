/**
 * The second reader: looks for what an erasure was to take, and shares no code with what took it. It goes through the
 * bytes of every collection of the database, those that nobody thought of included, and looks for each identifier as it
 * stands, as JSON, URLs and base64 would have it. What it reads it does not change.
 *
 * A byte that matches is not yet a find: the document is then looked at in full. What belongs to the new subject (events
 * after the cut-off), and fields that stay on purpose, are no residue.
 */
import { BSON, type Db, type Document } from 'mongodb'
import { findsAny, needlesOf, type Needle, type Searched } from './needles.js'

/** A place that was read: for the certificate. Names are fixed words, and hold nothing of anybody. */
export interface ReadPlace {
  /** What is counted in `read`: documents, versions of objects, runs, visibility records, files. */
  readonly kind: 'collection' | 'object_versions' | 'workflow_histories' | 'visibility' | 'log_files'
  readonly name: string
  readonly read: number
}

export interface ReadingOptions {
  readonly organizationId: string
  readonly identifiers: readonly Searched[]
  /** Does the document come after the cut-off, or is it another's? It is then none of the request's. */
  readonly isLater: (collection: string, document: Document) => Promise<boolean>
  /** `<event id>/<slot>` of fields that stay. */
  readonly kept: ReadonlySet<string>
  /** Told of each place once it is read whole. */
  readonly onRead?: (place: ReadPlace) => void
  readonly beat: () => void
}

/** Where something is left: the collection, and how many documents of it. Never what. */
export type Residue = ReadonlyMap<string, number>

const beatEvery = 2_000
const batchSize = 1_000

/** Reads every collection. @returns places by name, without the identifier */
export async function readEverything(db: Db, options: ReadingOptions): Promise<Residue> {
  const needles = options.identifiers.flatMap(needlesOf)
  const residue = new Map<string, number>()
  const names = await db.listCollections({}, { nameOnly: true }).toArray()
  for (const { name } of names.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    if (name.startsWith('system.')) continue
    const left = await readCollection(db, name, needles, options)
    if (left > 0) residue.set(name, left)
  }
  return residue
}

async function readCollection(
  db: Db,
  name: string,
  needles: readonly Needle[],
  options: ReadingOptions,
): Promise<number> {
  const { organizationId } = options
  const ours = { $or: [{ organizationId }, { organizationId: { $exists: false } }] }
  const cursor = db.collection(name).find(ours, { raw: true, batchSize })
  let left = 0
  let seen = 0
  for await (const raw of cursor) {
    if (seen++ % beatEvery === 0) options.beat()
    // With `raw` the driver gives a document's bytes.
    const bytes = raw as unknown as Buffer
    if (!findsAny(needles, bytes.toString('latin1'))) continue
    const document = BSON.deserialize(bytes, { useBigInt64: true })
    if (await options.isLater(name, document)) continue
    const rest = BSON.serialize(withoutKept(name, document, options.kept))
    if (findsAny(needles, Buffer.from(rest).toString('latin1'))) left += 1
  }
  options.onRead?.({ kind: 'collection', name, read: seen })
  return left
}

/** An event without the fields that stay on purpose. */
function withoutKept(name: string, document: Document, kept: ReadonlySet<string>): Document {
  const { _id: id, fields } = document
  if (name !== 'events' && name !== 'restoredEvents') return document
  if (typeof id !== 'string' || !Array.isArray(fields)) return document
  const eventId = id.slice(id.indexOf('/') + 1)
  const rest = (fields as readonly Document[]).filter(({ slot }) => !kept.has(`${eventId}/${String(slot)}`))
  return { ...document, fields: rest }
}
