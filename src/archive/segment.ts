/**
 * The format of a segment: what stands in its two data files. The manifests are in segment-manifest.ts, what the parts
 * are for in contract.ts.
 *
 * A data file is a row of gzip members (RFC 1952), one for each tile of level 0 that the range touches: leaves
 * 256·n to 256·n + 255, as far as they are in the range. So a member, which the manifest lists with its offset, can be
 * read and opened alone, and the file as a whole is an ordinary gzip file. Each member has the header
 * `1f 8b 08 00 00000000 00 ff` (no name, no time, no system), level 6, and unpacks to at most 268,435,456 bytes of
 * lines, each ending in a newline. The same lines give the same bytes, as far as the same zlib packs them.
 *
 * A line of the *records* file, one for each leaf, is the JSON of
 *
 *     {index, id, sealedAt, leafHash, record}
 *
 * with the members in this order: the leaf, the event's id, when it was sealed, 32 bytes in standard base64, and the
 * record's canonical JSON as a text, '' where there was none when it was archived.
 *
 * Once records of a segment have expired, a *leaves* file stands in the place of its records file: the same lines, but of
 * a leaf whose record has expired it is
 *
 *     {index, id, sealedAt, leafHash}
 *
 * What is left says where the leaf stood and what it hashed to, and nothing of what it was.
 *
 * A line of the *content* file, one for each event, is the JSON of
 *
 *     {index, id, v, action, category, outcome, version, occurredAt, receivedAt, actorType, targetTypes, fields}
 *
 * where an element of `fields` is one of
 *
 *     {terms}                                                       of the envelope
 *     {slot, salt, value, terms?}                                   a clear field
 *     {slot, commitment}                                            one whose value is gone
 *     {slot, subject, subjectSalt, sealed, commitment, terms?}      a person
 *     {slot, subject, subjectSalt, sealed, commitment, restricted}  one that is kept for a request, under its key
 *     {slot, subject, subjectSalt, commitment}                      one whose ciphertext is gone
 *
 * Salts, ciphertexts and commitments are standard base64, `value` is canonical JSON as a text, `restricted` is the id of
 * an erasure request, `terms` are the search terms, 16 hex digits each (two's complement), written together.
 * `{index, id}` alone is the line of an event that was damaged or gone. What expired has no line.
 *
 * The terms are here because a restore, and a search of the archive, take the filters of the hot store: those of
 * addresses and sessions are keyed, were made from what is encrypted, and cannot be made again without the person's key;
 * they lie in the element of the block, and go with it. The envelope is here, though the record has it, so that one event
 * is one ranged read. Neither the intake MAC nor the fingerprint of the body is: the one was looked at for the last time
 * when the event was sealed, the other counts only while the event is hot.
 *
 * A worked example (test/unit/archive/segment.test.ts checks every byte of it): the event of record.ts as leaf 0, sealed
 * at 2026-11-25T10:00:02.000Z, with the term 1 of its envelope and the terms 2 and -2 of `metadata/0`, has the lines
 * (broken here)
 *
 *     {"index":0,"id":"evt_01h455vb4pex5vsknk084sn02q","sealedAt":"2026-11-25T10:00:02.000Z","leafHash":
 *     "T9tdewzEDpOqHPK7BUSKeQip94JarGyM1SzDJU/k2Pk=","record":"{\"action\":\"team.member.invited\",\"actorType\":
 *     \"service\",\"category\":\"account\",\"fields\":\"v9fhnhwpfKDGMxuZfjbcfCMHVEnLqEtQvYwPKQGwpMA\",\"id\":
 *     \"evt_01h455vb4pex5vsknk084sn02q\",\"occurredAt\":\"2026-11-25T10:00:00.000Z\",\"organizationId\":\"org_acme\",
 *     \"outcome\":\"success\",\"receivedAt\":\"2026-11-25T10:00:01.000Z\",\"targetTypes\":[],\"v\":1,\"version\":1}"}
 *
 *     {"index":0,"id":"evt_01h455vb4pex5vsknk084sn02q","v":1,"action":"team.member.invited","category":"account",
 *     "outcome":"success","version":1,"occurredAt":"2026-11-25T10:00:00.000Z","receivedAt":"2026-11-25T10:00:01.000Z",
 *     "actorType":"service","targetTypes":[],"fields":[{"terms":"0000000000000001"},{"slot":"actor","salt":
 *     "AAECAwQFBgcICQoLDA0ODw==","value":"{\"id\":\"billing\"}"},{"slot":"metadata/0","salt":
 *     "EBESExQVFhcYGRobHB0eHw==","value":"[\"plan\",\"pro\"]","terms":"0000000000000002fffffffffffffffe"}]}
 */
import { BSON } from 'mongodb'
import { leafHashOf } from '../events/record.js'
import { rebuildLeaf } from '../events/rebuild.js'
import { eventDocumentId, type StoredEvent } from '../events/store.js'
import { tileWidth } from '../transparency-log/tile.js'
import { committedField, plainField, storedField } from './segment-fields.js'

/** Most tiles that a segment touches: its manifests list a member for each, and a note has at most 1,000,000 bytes. */
export const maxSegmentTiles = 4_096
/** Most bytes that a member unpacks to: 256 events of the largest size, quoted twice, with salts and terms. */
export const maxMemberBytes = 256 * 1_024 * 1_024

/** The tile of level 0 that a leaf is under. */
export const tileOf = (leaf: number): number => Math.floor(leaf / tileWidth)

/** One leaf as it is archived: what the log has of it, and the event where it is there and makes the leaf. */
export interface SegmentLeaf {
  readonly index: number
  readonly eventId: string
  readonly sealedAt: Date
  /** 32 bytes. */
  readonly leafHash: Uint8Array
  /** Canonical JSON; '' where there is none. */
  readonly record: string
  /** As the hot store has it, with `useBigInt64`; undefined where it is gone, or comes as `row`. */
  readonly event?: StoredEvent | undefined
  /** The event's BSON, as the hot store has it. */
  readonly row?: Buffer | undefined
}

/** A line of a records file. */
export interface RecordLine {
  readonly index: number
  readonly id: string
  readonly sealedAt: string
  readonly leafHash: Buffer
  /** '' where there was none when it was archived; undefined where it has expired. */
  readonly record: string | undefined
}

/** A line of a content file, as parsed. Nobody's word for anything but its two first members. */
export interface ContentLine {
  readonly index: number
  readonly id: string
  readonly fields?: unknown
}

/** A line that has not the form of one. */
export class MalformedLineError extends Error {
  override readonly name = 'MalformedLineError'
}

export function formatRecordLine({ index, eventId, sealedAt, leafHash, record }: SegmentLeaf): string {
  const hash = Buffer.from(leafHash).toString('base64')
  return `${JSON.stringify({ index, id: eventId, sealedAt: sealedAt.toISOString(), leafHash: hash, record })}\n`
}

/** The line of a leaves file: as that of the records, or without the record. */
export const formatLeafLine = ({ index, id, sealedAt, leafHash, record }: RecordLine): string =>
  `${JSON.stringify({
    ...{ index, id, sealedAt, leafHash: leafHash.toString('base64') },
    ...(record === undefined ? {} : { record }),
  })}\n`

/** @param event undefined where it was damaged or gone */
export function formatContentLine(index: number, id: string, event: StoredEvent | undefined): string {
  if (event === undefined) return `${JSON.stringify({ index, id })}\n`
  const { v, action, category, outcome, version, occurredAt, receivedAt, actorType, targetTypes } = event
  const fields = event.fields.map(plainField)
  const times = { occurredAt: occurredAt.toISOString(), receivedAt: receivedAt.toISOString() }
  const line = {
    index,
    id,
    v,
    action,
    category,
    outcome,
    version,
    ...times,
    actorType,
    targetTypes,
    fields,
  }
  return `${JSON.stringify(line)}\n`
}

/**
 * The lines of an opened member of a records file, or of a leaves file.
 * @throws MalformedLineError
 */
export const parseRecordLines = (member: Buffer): RecordLine[] =>
  linesOf(member, (line) => {
    const { index, id, sealedAt, leafHash, record } = line
    const hash = typeof leafHash === 'string' ? Buffer.from(leafHash, 'base64') : undefined
    const isRecord = typeof record === 'string' || !('record' in line)
    if (hash?.length !== hashBytes || typeof sealedAt !== 'string' || !isRecord)
      throw new MalformedLineError('a line of records has not the form of one')
    return { index, id, sealedAt, leafHash: hash, record: typeof record === 'string' ? record : undefined }
  })

/** As `parseRecordLines`; the event in a line is whatever it is. */
export const parseContentLines = (member: Buffer): ContentLine[] => linesOf(member, (line) => line)

/** Is it the line of an event that was damaged or gone when it was archived? */
export const isEmptyLine = (line: ContentLine): boolean => Object.keys(line).length === 2

/**
 * The stored form of the event in a line: what presenters, `rebuildLeaf` and `verifiableEvent` take. Its leaf hash is the
 * one that it makes, its MAC is empty. What it is made of is not trusted: compare the leaf hash with one that is.
 * @returns undefined where the line makes no leaf
 */
export function storedEventOf(organizationId: string, line: ContentLine): StoredEvent | undefined {
  const event = looseEvent(organizationId, line, storedField)
  // It looks at the type of every member: what was only said to be one is one below.
  const rebuilt = event === undefined ? undefined : rebuildLeaf(event)
  return event === undefined || rebuilt === undefined
    ? undefined
    : { ...event, leafHash: rebuilt.leafHash, mac: noMac }
}

/** The event in a line that was verified; undefined for that of one that was damaged or gone when it was archived. */
export function verifiedEventOf(organizationId: string, line: ContentLine): StoredEvent | undefined {
  if (isEmptyLine(line)) return undefined
  const event = storedEventOf(organizationId, line)
  if (event === undefined) throw new Error('content that was verified is made of events')
  return event
}

/**
 * `storedEventOf(…)?.leafHash`, for who needs no more: ciphertexts and terms, which no leaf commits to, are looked at and
 * not read.
 */
export function leafHashOfLine(organizationId: string, line: ContentLine): Buffer | undefined {
  const event = looseEvent(organizationId, line, committedField)
  return event === undefined ? undefined : rebuildLeaf(event)?.leafHash
}

/** What a line says an event is; its members are of no type yet. */
function looseEvent<Field extends object>(
  organizationId: string,
  line: ContentLine,
  fieldOf: (field: unknown) => Field | undefined,
) {
  const loose = line as LooseLine
  if (!Array.isArray(loose.fields)) return undefined
  const fields: Field[] = []
  for (const field of loose.fields as readonly unknown[]) {
    const read = fieldOf(field)
    if (read === undefined) return undefined
    fields.push(read)
  }
  return {
    _id: eventDocumentId(organizationId, line.id),
    organizationId,
    v: loose.v as 1,
    action: loose.action as string,
    category: loose.category as string,
    outcome: loose.outcome as string,
    version: loose.version as number,
    occurredAt: new Date(String(loose.occurredAt)),
    receivedAt: new Date(String(loose.receivedAt)),
    actorType: loose.actorType as string,
    targetTypes: loose.targetTypes as readonly string[],
    fields,
  }
}

/**
 * What of a leaf is archived: its record, if it has one that makes the leaf, and its event, if that makes it. So what was
 * edited in the hot store is never archived as if it were whole.
 */
export function archivable(
  organizationId: string,
  leaf: SegmentLeaf,
): { readonly record: string; readonly event: StoredEvent | undefined } {
  const { leafHash, eventId } = leaf
  const event = leaf.row === undefined ? leaf.event : eventOfRow(leaf.row)
  const rebuilt = event?._id === eventDocumentId(organizationId, eventId) ? rebuildLeaf(event) : undefined
  if (rebuilt?.leafHash.equals(leafHash) === true) return { record: rebuilt.record, event }
  const record = leaf.record !== '' && leafHashOf(leaf.record).equals(leafHash) ? leaf.record : ''
  return { record, event: undefined }
}

/** A row, as the driver reads it. */
const eventOfRow = (row: Buffer): StoredEvent =>
  BSON.deserialize(row, {
    useBigInt64: true,
    promoteBuffers: true,
    validation: { utf8: true },
  }) as StoredEvent

const hashBytes = 32
const noMac = Buffer.alloc(0)

type LooseLine = Readonly<
  Partial<
    Record<
      | 'v'
      | 'action'
      | 'category'
      | 'outcome'
      | 'version'
      | 'occurredAt'
      | 'receivedAt'
      | 'actorType'
      | 'targetTypes'
      | 'fields',
      unknown
    >
  >
>

type AnyLine = Readonly<Record<string, unknown>> & { readonly index: number; readonly id: string }

function linesOf<Line>(member: Buffer, read: (line: AnyLine) => Line): Line[] {
  const lines: Line[] = []
  for (let start = 0; start < member.length;) {
    const end = member.indexOf(newline, start)
    if (end === -1) throw new MalformedLineError('the last line is cut short')
    lines.push(read(parsedLine(member.toString('utf8', start, end))))
    start = end + 1
  }
  return lines
}

const newline = 10

function parsedLine(text: string): AnyLine {
  let line: unknown
  try {
    line = JSON.parse(text)
  } catch {
    throw new MalformedLineError('a line is no JSON')
  }
  if (!isLine(line)) throw new MalformedLineError('a line has no leaf and no event id')
  return line
}

const isLine = (line: unknown): line is AnyLine =>
  typeof line === 'object' &&
  line !== null &&
  'index' in line &&
  Number.isSafeInteger(line.index) &&
  'id' in line &&
  typeof line.id === 'string'
