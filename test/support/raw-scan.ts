/**
 * Looks for a person in everything that a deployment keeps, with code that shares nothing with what erases or verifies:
 * the bytes of every collection, file, object version, workflow history and visibility record, packed ones unpacked.
 */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { GetObjectCommand, ListObjectVersionsCommand } from '@aws-sdk/client-s3'
import { BSON, type Db } from 'mongodb'
import { openPayload } from '../../src/temporal/codec.js'
import type { TemporalConnection } from '../../src/temporal/client.js'
import type { Versitygw } from './versitygw.js'

/** What stands for a person: words in their spellings, and bytes that were made for them (ciphertexts, keyed hashes). */
export interface Sought {
  /** Lower case. */
  readonly words: readonly string[]
  /** As they are, in Latin-1. */
  readonly bytes: readonly string[]
}

const latin = (text: string) => Buffer.from(text).toString('latin1')

/** A value as it is and as URLs, HTML and JSON have it; and in the three alignments of base64. */
export function soughtWords(values: readonly string[]): Sought {
  const words = values.flatMap((value) => [
    value,
    encodeURIComponent(value),
    encodeURIComponent(value).replaceAll('%20', '+'),
    JSON.stringify(value).slice(1, -1),
    value.replaceAll('@', '\\u0040'),
    value.replaceAll('@', '&#64;'),
    value.replaceAll('@', '&#x40;'),
    value.replaceAll('+', '&#43;'),
    Buffer.from(value).toString('hex'),
  ])
  const bytes = values.flatMap((value) =>
    [0, 1, 2].map((shift) => {
      const text = Buffer.from(' '.repeat(shift) + value).toString('base64')
      // What the neighbours have no part in.
      return text.slice(shift === 0 ? 0 : shift + 1, Math.floor(((shift + Buffer.byteLength(value)) * 4) / 3))
    }),
  )
  return { words: [...new Set(words.map((word) => latin(word).toLowerCase()))], bytes }
}

/** Secret bytes as they are, and as texts have them. */
export function soughtBytes(secrets: readonly Buffer[]): Sought {
  const bytes = secrets.flatMap((secret) => [
    secret.toString('latin1'),
    secret.toString('base64'),
    secret.toString('base64url'),
  ])
  return { words: secrets.map((secret) => secret.toString('hex')), bytes }
}

export const allSought = (...some: readonly Sought[]): Sought => ({
  words: some.flatMap(({ words }) => words),
  bytes: some.flatMap(({ bytes }) => bytes),
})

const stands = (bytes: Buffer, { words, bytes: exact }: Sought): boolean => {
  const text = bytes.toString('latin1')
  const lower = text.toLowerCase()
  return exact.some((one) => text.includes(one)) || words.some((word) => lower.includes(word))
}

/** Bytes, and what they hold packed. Some random bytes begin as gzip does; a file by such a name has to unpack. */
function unpacked(bytes: Buffer, name = ''): Buffer[] {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return [bytes]
  try {
    return [bytes, gunzipSync(bytes)]
  } catch (error) {
    if (name.endsWith('.gz')) throw error
    return [bytes]
  }
}

/** Every Buffer inside of a document. */
function* buffersIn(value: unknown): Generator<Buffer> {
  if (Buffer.isBuffer(value)) yield value
  else if (Array.isArray(value)) for (const one of value) yield* buffersIn(one)
  else if (typeof value === 'object' && value !== null && !(value instanceof Date))
    for (const one of Object.values(value)) yield* buffersIn(one)
}

/**
 * Every document of every collection, and what the collections themselves are.
 * @param other documents of this organization are passed over
 * @returns `<collection>/<id>`
 */
export async function scanDatabase(db: Db, sought: Sought, other: string): Promise<string[]> {
  const hits: string[] = []
  const collections = await db.listCollections().toArray()
  if (collections.length < 20) throw new Error('this is not the database of a deployment')
  for (const info of collections) {
    const collection = db.collection(info.name)
    const indexes: unknown = info.type === 'view' ? [] : await collection.listIndexes().toArray()
    if (stands(Buffer.from(JSON.stringify([info, indexes])), sought)) hits.push(info.name)
    for await (const raw of collection.find({}, { raw: true })) {
      // With `raw` the driver gives a document's bytes.
      const bytes = raw as unknown as Buffer
      const document = BSON.deserialize(bytes, { useBigInt64: true, promoteBuffers: true })
      if (isOf(document, other)) continue
      const packed = [...buffersIn(document)].flatMap((one) => unpacked(one).slice(1))
      if ([bytes, ...packed].some((one) => stands(one, sought)))
        hits.push(`${info.name}/${String(document['_id'])}`)
    }
  }
  return hits.sort()
}

const isOf = (document: BSON.Document, organizationId: string): boolean =>
  document['organizationId'] === organizationId || String(document['_id']).split('/')[0] === organizationId

/** Every file under a folder, but those of the other organization. @returns paths */
export async function scanFolder(folder: string, sought: Sought, other: string): Promise<string[]> {
  const hits: string[] = []
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    if (path.split('/').includes(other)) continue
    if (stands(Buffer.from(path.slice(folder.length)), sought)) hits.push(path)
    if (entry.isFile() && unpacked(await readFile(path), path).some((bytes) => stands(bytes, sought)))
      hits.push(path)
  }
  return hits.sort()
}

/** Every version of every object of a bucket. @returns keys with versions */
export async function scanBucket(
  { client }: Versitygw,
  bucket: string,
  sought: Sought,
  other: string,
): Promise<{ readonly versions: number; readonly hits: string[] }> {
  const hits: string[] = []
  let versions = 0
  let markers: { KeyMarker?: string | undefined; VersionIdMarker?: string | undefined } = {}
  for (;;) {
    const page = await client.send(new ListObjectVersionsCommand({ Bucket: bucket, ...markers }))
    for (const { Key, VersionId } of page.Versions ?? []) {
      if (Key === undefined || Key.split('/').includes(other)) continue
      versions += 1
      const object = await client.send(new GetObjectCommand({ Bucket: bucket, Key, VersionId }))
      const bytes = Buffer.from((await object.Body?.transformToByteArray()) ?? [])
      if ([Buffer.from(Key), ...unpacked(bytes, Key)].some((one) => stands(one, sought)))
        hits.push(`${Key} ${VersionId ?? ''}`)
    }
    if (page.IsTruncated !== true) return { versions, hits: hits.sort() }
    markers = { KeyMarker: page.NextKeyMarker, VersionIdMarker: page.NextVersionIdMarker }
  }
}

/** Every run of every workflow of the namespace: history and visibility, payloads as they are and opened; and schedules. */
export async function scanTemporal(
  { client, codecKeys, namespace }: TemporalConnection,
  sought: Sought,
): Promise<{ readonly workflows: string[]; readonly events: number; readonly hits: string[] }> {
  const hits: string[] = []
  const workflows: string[] = []
  let events = 0
  const opened = (message: unknown): Buffer[] => {
    if (message instanceof Uint8Array) return [Buffer.from(message)]
    if (typeof message === 'string') return [Buffer.from(message)]
    if (typeof message !== 'object' || message === null) return []
    if ('metadata' in message && 'data' in message && message.data instanceof Uint8Array) {
      const { metadata, data } = message as { metadata: Record<string, Uint8Array>; data: Uint8Array }
      const plain = openPayload({ metadata, data }, codecKeys, namespace).data ?? new Uint8Array()
      return [Buffer.from(data), Buffer.from(plain), Buffer.from(JSON.stringify(metadata))]
    }
    return Object.entries(message).flatMap(([name, value]) => [Buffer.from(name), ...opened(value)])
  }
  for await (const { workflowId, runId, raw } of client.workflow.list()) {
    workflows.push(workflowId)
    if (opened(raw).some((bytes) => stands(bytes, sought))) hits.push(`visibility of ${workflowId}`)
    const history = await client.workflow.getHandle(workflowId, runId).fetchHistory()
    for (const event of history.events ?? []) {
      events += 1
      if (opened(event).some((bytes) => stands(bytes, sought)))
        hits.push(`history of ${workflowId}, event ${String(event.eventId)}`)
    }
  }
  for await (const { scheduleId } of client.schedule.list()) {
    const { raw } = await client.schedule.getHandle(scheduleId).describe()
    if (opened(raw).some((bytes) => stands(bytes, sought))) hits.push(`schedule ${scheduleId}`)
  }
  return { workflows, events, hits: hits.sort() }
}

/** Lines of a log that name the person. */
export const scanLog = (text: string, sought: Sought): string[] =>
  text.split('\n').filter((line) => stands(Buffer.from(line), sought))
