/**
 * The second reader over an archive: every version of every object of an organization, content and manifests, unpacked and
 * looked through line by line, whether a segment names it or not. It goes by the store's own list and by the bytes, and
 * shares no code with what writes content anew: neither its paths, nor its members, nor its lines.
 *
 * On the way it counts the events that name the subjects, an object at a time: what was erased of them, and what is kept.
 */
import type { Readable } from 'node:stream'
import { createGunzip } from 'node:zlib'
import type { ArchiveStore, StoredVersion } from '../archive/stores/contract.js'
import { findsAny, needlesOf, type Needle, type Searched } from './needles.js'
import type { ReadPlace } from './second-reader.js'

export interface ArchiveReading {
  readonly organizationId: string
  readonly requestId: string
  readonly identifiers: readonly Searched[]
  readonly subjects: readonly string[]
  /** `<event id>/<slot>` of fields that stay. */
  readonly kept: ReadonlySet<string>
  /** Does a leaf come after the cut-off? */
  readonly isLater: (generation: number, index: number) => boolean
  /** Paths alone that are read; absent = all there are. */
  readonly only?: ReadonlySet<string>
  readonly onRead?: (place: ReadPlace) => void
  readonly beat: () => void
}

/** Events of one object that name the subjects. */
export interface ObjectCounts {
  /** Their ids: of whose blocks nothing is left, and of those with one that waits under the request's key. */
  readonly erased: readonly string[]
  readonly exempt: readonly string[]
}

export interface ArchiveFound {
  /** Lines that hold one of the identifiers, and objects that cannot be read. */
  readonly left: number
  readonly counts: ReadonlyMap<string, ObjectCounts>
}

/** Longer ones are looked through in parts. */
const maxLineBytes = 64 * 1_024 * 1_024
const overlapBytes = 4_096

/** @throws ArchiveStoreError */
export async function readArchive(
  store: Pick<ArchiveStore, 'versions' | 'getVersion'>,
  reading: ArchiveReading,
): Promise<ArchiveFound> {
  const { organizationId, only, beat } = reading
  const needles = reading.identifiers.flatMap(needlesOf)
  const counts = new Map<string, ObjectCounts>()
  let left = 0
  let read = 0
  for await (const version of store.versions(`${organizationId}/`)) {
    beat()
    if (only !== undefined && !only.has(version.path)) continue
    const lines = new Lines(version.path, reading, needles)
    // One that went meanwhile is gone.
    if (!(await readVersion(store, version, lines, beat))) continue
    read += 1
    left += lines.left
    counts.set(version.path, lines)
  }
  reading.onRead?.({ kind: 'object_versions', name: 'archive_content', read })
  return { left, counts }
}

async function readVersion(
  store: Pick<ArchiveStore, 'getVersion'>,
  version: StoredVersion,
  lines: Lines,
  beat: () => void,
): Promise<boolean> {
  const stream = await store.getVersion(version)
  if (stream === undefined) return false
  if (!version.path.endsWith('.gz')) {
    await eachLine(stream, lines, beat)
    return true
  }
  const unpacked = createGunzip()
  let broken: Error | undefined
  stream.on('error', (error: Error) => {
    broken = error
    unpacked.destroy(error)
  })
  stream.pipe(unpacked)
  try {
    await eachLine(unpacked, lines, beat)
  } catch {
    if (broken !== undefined) throw broken
    // What does not unpack cannot be said to hold nothing.
    lines.left += 1
  } finally {
    stream.destroy()
  }
  return true
}

async function eachLine(stream: Readable, lines: Lines, beat: () => void): Promise<void> {
  let rest: Buffer = Buffer.alloc(0)
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    beat()
    let from = 0
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    for (let end = bytes.indexOf(10); end !== -1; end = bytes.indexOf(10, from)) {
      lines.look(bytes.subarray(from, end))
      from = end + 1
    }
    rest = bytes.subarray(from)
    if (rest.length <= maxLineBytes) continue
    lines.look(rest)
    rest = rest.subarray(rest.length - overlapBytes)
  }
  if (rest.length > 0) lines.look(rest)
}

/** The lines of one object, and what stands in them. */
class Lines implements ObjectCounts {
  left = 0
  readonly erased: string[] = []
  readonly exempt: string[] = []
  readonly #generation: number
  readonly #isContent: boolean
  readonly #subjects: readonly { readonly reference: string; readonly bytes: Buffer }[]

  constructor(
    path: string,
    private readonly reading: ArchiveReading,
    private readonly needles: readonly Needle[],
  ) {
    const [, generation] = path.split('/')
    this.#generation = Number(generation)
    this.#isContent = path.includes('.content.')
    this.#subjects = reading.subjects.map((reference) => ({ reference, bytes: Buffer.from(reference) }))
  }

  look(line: Buffer): void {
    const parsed = objectIn(line)
    if (this.#isContent && this.#subjects.some(({ bytes }) => line.includes(bytes))) this.#count(parsed)
    if (!this.#names(parsed ?? line.toString('utf8'))) return
    const { index, id, fields } = parsed ?? {}
    if (typeof index === 'number' && this.reading.isLater(this.#generation, index)) return
    if (!Array.isArray(fields)) {
      this.left += 1
      return
    }
    const rest = (fields as readonly unknown[]).filter(
      (field) => !this.reading.kept.has(`${String(id)}/${String(Reflect.get(Object(field), 'slot'))}`),
    )
    if (this.#names({ ...parsed, fields: rest })) this.left += 1
  }

  /** In the text as it is, and in every string of it: a value is JSON inside of JSON. */
  #names(content: unknown): boolean {
    const texts: string[] = []
    collect(content, texts)
    const whole = texts.join('\n')
    return findsAny(this.needles, Buffer.from(whole).toString('latin1'))
  }

  #count(parsed: Readonly<Record<string, unknown>> | undefined): void {
    const { id, fields } = parsed ?? {}
    if (typeof id !== 'string' || !Array.isArray(fields)) return
    const theirs = (fields as readonly unknown[]).filter((field) =>
      this.#subjects.some(({ reference }) => Reflect.get(Object(field), 'subject') === reference),
    )
    if (theirs.length === 0) return
    const { requestId } = this.reading
    if (theirs.some((field) => Reflect.get(Object(field), 'restricted') === requestId)) this.exempt.push(id)
    else if (theirs.every((field) => Reflect.get(Object(field), 'sealed') === undefined)) this.erased.push(id)
  }
}

function objectIn(line: Buffer): Readonly<Record<string, unknown>> | undefined {
  if (line[0] !== 0x7b) return undefined
  try {
    const parsed: unknown = JSON.parse(line.toString('utf8'))
    return typeof parsed === 'object' && parsed !== null ? (parsed as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

function collect(value: unknown, texts: string[]): void {
  if (typeof value === 'string') texts.push(value)
  else if (Array.isArray(value)) for (const member of value) collect(member, texts)
  else if (typeof value === 'object' && value !== null)
    for (const member of Object.values(value)) collect(member, texts)
}
