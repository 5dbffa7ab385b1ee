/**
 * The second reader: looks for what an erasure was to take, and shares no code with what took it. It goes through the
 * bytes of every collection of the database, those that nobody thought of included, and looks for each identifier as it
 * stands, as JSON, URLs and base64 would have it. What it reads it does not change.
 *
 * A byte that matches is not yet a find: the document is then looked at in full. What belongs to the new subject (events
 * after the cut-off), and fields that stay on purpose, are no residue.
 */
import { BSON, type Db, type Document } from 'mongodb'
import type { ErasureIdentifier } from './contract.js'

export type Searched = Pick<ErasureIdentifier, 'kind' | 'value'>

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
  if (needles.length === 0) return residue
  const names = await db.listCollections({}, { nameOnly: true }).toArray()
  for (const { name } of names.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    if (name.startsWith('system.')) continue
    const left = await readCollection(db, name, needles, options)
    if (left > 0) residue.set(name, left)
  }
  return residue
}

interface Needle {
  /** Bytes as Latin-1, in lower case unless `exact`. */
  readonly text: string
  readonly exact: boolean
  /** An encoding without boundaries: base64. */
  readonly anywhere: boolean
  readonly email: boolean
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
    const text = bytes.toString('latin1')
    const lower = text.toLowerCase()
    if (!needles.some((needle) => stands(needle, needle.exact ? text : lower))) continue
    const document = BSON.deserialize(bytes, { useBigInt64: true })
    if (await options.isLater(name, document)) continue
    const rest = BSON.serialize(withoutKept(name, document, options.kept))
    const restText = Buffer.from(rest).toString('latin1')
    const restLower = restText.toLowerCase()
    if (needles.some((needle) => stands(needle, needle.exact ? restText : restLower))) left += 1
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

function needlesOf({ kind, value }: Searched): Needle[] {
  const exact = kind === 'id'
  const trimmed = value.trim()
  const spellings = new Set<string>()
  for (const spelling of [trimmed, trimmed.normalize('NFC'), trimmed.normalize('NFD')]) {
    spellings.add(spelling)
    spellings.add(JSON.stringify(spelling).slice(1, -1))
    spellings.add(encodeURIComponent(spelling))
    spellings.add(encodeURIComponent(spelling).replaceAll('%20', '+'))
  }
  const bytesOf = (text: string) => Buffer.from(text).toString('latin1')
  const plain = [...spellings]
    .filter((text) => text !== '')
    .map((text) => ({
      text: exact ? bytesOf(text) : bytesOf(text).toLowerCase(),
      exact,
      anywhere: false,
      email: kind === 'email',
    }))
  return [...plain, ...base64Needles(trimmed), ...(exact ? [] : base64Needles(trimmed.toLowerCase()))]
}

function base64Needles(value: string): Needle[] {
  const bytes = Buffer.from(value)
  if (bytes.length < 8) return []
  return [0, 1, 2].flatMap((shift) => {
    const whole = Buffer.concat([Buffer.alloc(shift), bytes])
    const sure = whole
      .toString('base64')
      .slice(shift === 0 ? 0 : shift + 1, Math.floor((whole.length * 4) / 3))
    const spellings = [sure, sure.replaceAll('+', '-').replaceAll('/', '_')]
    return [...new Set(spellings)].map((text) => ({ text, exact: true, anywhere: true, email: false }))
  })
}

const inWord = /[A-Za-z0-9_\x80-\xff]/
const inAddress = /[A-Za-z0-9_.%+\x80-\xff-]/

function stands({ text: needle, anywhere, email }: Needle, bytes: string): boolean {
  for (let at = bytes.indexOf(needle); at !== -1; at = bytes.indexOf(needle, at + 1)) {
    if (anywhere) return true
    const after = bytes.slice(at + needle.length, at + needle.length + 2)
    const before = email ? inAddress : inWord
    const goesOn =
      inWord.test(after.charAt(0)) || (email && (after.startsWith('-') || /^\.[A-Za-z0-9]/.test(after)))
    if (!goesOn && (!before.test(bytes.charAt(at - 1)) || endsEscape(bytes.slice(Math.max(0, at - 8), at))))
      return true
  }
  return false
}

/** `\n`, `\u000a`, `%20`: its last letter is no letter of the text. A BSON string begins after its length. */
const endsEscape = (before: string): boolean =>
  /(?:^|[^\\])(?:\\\\)*\\(?:[nrtbf]|u[0-9a-fA-F]{4})$/.test(before) || /%[0-9a-fA-F]{2}$/.test(before)
