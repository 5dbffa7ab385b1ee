/**
 * Packs and unpacks members, in libuv's threads. Node takes the bytes of a stream up 16 KiB at a time, and each time waits
 * for the event loop, which is busy with other members: the output of a member fits in one piece here, or a few. How large
 * the pieces are changes no byte.
 */
import { promisify } from 'node:util'
import { gunzip, gzip } from 'node:zlib'
import { maxMemberBytes } from './segment.js'

const pack = promisify(gzip)
const unpack = promisify(gunzip)
const level = 6
/** The last byte of the header, "operating system": 255 says none. */
const systemByte = 9
const noSystem = 255
const minPieceBytes = 16_384
const maxPieceBytes = 1_048_576
/** A member ends with how long it was, modulo 2^32, in little-endian order. */
const lengthBytes = 4

/** The member of some lines; they must not change before it is there. */
export async function packMember(lines: Uint8Array): Promise<Buffer> {
  if (lines.length > maxMemberBytes) throw new Error('no 256 events have so many bytes')
  const packed = await pack(lines, { level, chunkSize: pieceBytes(lines.length / 2) })
  packed[systemByte] = noSystem
  return packed
}

/** The lines of a member; rejects where the bytes are none, or unpack to more than a member may. */
export async function unpackMember(packed: Buffer): Promise<Buffer> {
  // Nobody's word for anything but for how much to take at a time.
  const said = packed.length < lengthBytes ? 0 : packed.readUInt32LE(packed.length - lengthBytes)
  return unpack(packed, { maxOutputLength: maxMemberBytes, chunkSize: pieceBytes(said + 1) })
}

const pieceBytes = (wanted: number): number =>
  Math.max(minPieceBytes, Math.min(maxPieceBytes, Math.ceil(wanted)))
