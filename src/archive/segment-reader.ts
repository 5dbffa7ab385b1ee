/**
 * Reads a data file of a segment from its first byte to its last, member by member: in memory is one that is being used
 * and one that is being unpacked, however large the file. That the whole is what its manifest says is known at the end
 * only, so nothing may be done with what was read before then that could not be undone. For the member of one leaf see
 * member-reader.ts.
 */
import { createHash } from 'node:crypto'
import type { Readable } from 'node:stream'
import type { SegmentFile, SegmentMember } from './contract.js'
import { unpackMember } from './member-packing.js'
import { SegmentFault } from './segment-fault.js'
import type { ArchiveStore } from './stores/contract.js'

export interface OpenMember {
  readonly member: SegmentMember
  /** Unpacked. */
  readonly lines: Buffer
}

/**
 * Every member of a file, in order.
 * @throws SegmentFault `object_missing` | `object_differs` | `member_malformed`; ArchiveStoreError
 */
export async function* readMembers(
  store: Pick<ArchiveStore, 'get'>,
  file: SegmentFile,
): AsyncGenerator<OpenMember, void, undefined> {
  // A file of no bytes is not stored: all of it expired.
  if (file.bytes === 0) return
  const stream = await store.get(file.path)
  if (stream === undefined) throw new SegmentFault('object_missing', file.path, 'it is not there')
  const members = packedMembers(stream, file)
  let ahead: Promise<OpenMember> | undefined
  try {
    for (;;) {
      const step = await members.next().catch((error: unknown) => ({ error }))
      const ready = ahead
      ahead =
        'error' in step || step.done === true ? undefined : open(file, step.value.member, step.value.packed)
      // A failure is met when its turn comes.
      ahead?.catch(() => undefined)
      // What came before a failure is given first: its lines may say which leaf was edited.
      if (ready !== undefined) yield await ready
      if ('error' in step) throw step.error
      if (step.done === true) return
    }
  } finally {
    await members.return()
    stream.destroy()
  }
}

async function open(file: SegmentFile, member: SegmentMember, packed: Buffer): Promise<OpenMember> {
  try {
    return { member, lines: await unpackMember(packed) }
  } catch {
    const detail = `the bytes from ${String(member.offset)} on do not unpack`
    throw new SegmentFault('member_malformed', file.path, detail, { index: member.first })
  }
}

async function* packedMembers(
  stream: Readable,
  { path, bytes, sha256, members }: SegmentFile,
): AsyncGenerator<{ member: SegmentMember; packed: Buffer }, void, undefined> {
  const hash = createHash('sha256')
  let total = 0
  let chunks: Buffer[] = []
  let held = 0
  let next = 0
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    hash.update(chunk)
    total += chunk.length
    if (total > bytes)
      throw new SegmentFault('object_differs', path, 'it has more bytes than its manifest says')
    chunks.push(chunk)
    held += chunk.length
    for (let member = members[next]; member !== undefined && held >= member.bytes; member = members[next]) {
      const all = chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks, held)
      yield { member, packed: all.subarray(0, member.bytes) }
      const rest = all.subarray(member.bytes)
      chunks = [rest]
      held = rest.length
      next += 1
    }
  }
  if (total !== bytes)
    throw new SegmentFault('object_differs', path, `it has ${String(total)} bytes, and had ${String(bytes)}`)
  if (hash.digest('hex') !== sha256)
    throw new SegmentFault('object_differs', path, 'its bytes are not those of its manifest')
}

/** A small object whole; undefined where it is not there. @throws SegmentFault `object_differs` where it is larger */
export async function readObject(
  store: Pick<ArchiveStore, 'get'>,
  path: string,
  maxBytes: number,
): Promise<Buffer | undefined> {
  const stream = await store.get(path)
  if (stream === undefined) return undefined
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > maxBytes) {
      stream.destroy()
      throw new SegmentFault('object_differs', path, 'it is too large')
    }
    chunks.push(chunk)
  }
  return Buffer.concat(chunks, length)
}
