/**
 * Reads a BSON document (bsonspec.org) where it lies: where its members begin, and nothing is decoded. What is not as it
 * is meant to be ends the reading by `leave()`, for whoever reads by a longer way then.
 */

/** The types of elements. */
export const bson = {
  double: 1,
  string: 2,
  document: 3,
  array: 4,
  binary: 5,
  boolean: 8,
  date: 9,
  int32: 16,
  int64: 18,
}
/** A name or word as the bytes that stand in a document. */
export const ascii = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'latin1'))

/** What `leave` throws. */
export const unusual = Symbol('unusual')
export const leave = (): never => {
  // eslint-disable-next-line @typescript-eslint/only-throw-error -- a way out that costs no stack, caught right here
  throw unusual
}

/** Where the members of a document begin, and of which types they are; 0 = not there. */
export function findMembers(
  row: Buffer,
  start: number,
  end: number,
  names: readonly Uint8Array[],
  at: Int32Array,
  types: Uint8Array,
  mayHaveOthers: boolean,
): void {
  if (end - start < 5 || row.readInt32LE(start) !== end - start || row[end - 1] !== 0) leave()
  at.fill(0)
  types.fill(0)
  let position = start + 4
  const last = end - 1
  while (position < last) {
    const type = row[position] ?? 0
    const nameAt = position + 1
    const nameEnd = nameEndOf(row, nameAt)
    const member = memberOf(row, nameAt, nameEnd, names)
    const valueStart = nameEnd + 1
    if (member === -1) {
      if (!mayHaveOthers) leave()
    } else {
      // The last of two would count, where objects are made.
      if (at[member] !== 0) leave()
      at[member] = valueStart
      types[member] = type
    }
    position = afterElement(row, type, valueStart)
    if (position > last) leave()
  }
  if (position !== last) leave()
}

/** Where the name ends that begins at `at`. */
export function nameEndOf(row: Buffer, at: number): number {
  let end = at
  while (end < row.length && row[end] !== 0) end += 1
  return end < row.length ? end : leave()
}

/** Where the element ends whose value begins at `at`. */
export function afterElement(row: Buffer, type: number, at: number): number {
  if (at + 4 > row.length) leave()
  switch (type) {
    case bson.string: {
      const end = at + 4 + row.readInt32LE(at)
      if (end <= at + 4 || row[end - 1] !== 0) leave()
      return end
    }
    case bson.document:
    case bson.array: {
      const bytes = row.readInt32LE(at)
      if (bytes < 5) leave()
      return at + bytes
    }
    case bson.binary: {
      const bytes = row.readInt32LE(at)
      if (bytes < 0) leave()
      return at + 5 + bytes
    }
    case bson.double:
    case bson.date:
    case bson.int64:
      return at + 8
    case bson.int32:
      return at + 4
    case bson.boolean:
      return at + 1
    default:
      return leave()
  }
}

/** Which of some names stands there; -1 = none. */
function memberOf(row: Buffer, at: number, end: number, names: readonly Uint8Array[]): number {
  for (let member = 0; member < names.length; member += 1) {
    const name = names[member]
    if (name?.length !== end - at || name[0] !== row[at]) continue
    let position = 1
    while (position < name.length && name[position] === row[at + position]) position += 1
    if (position === name.length) return member
  }
  return -1
}
