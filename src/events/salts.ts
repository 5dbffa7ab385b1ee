/** Fresh random salts from a pool: one call to the random generator for a thousand of them. */
import { randomFillSync } from 'node:crypto'
import { saltBytes } from './record.js'

const saltsInPool = 1_024
let pool = Buffer.alloc(0)
let offset = 0

/** A salt, 16 bytes: random, never derived, used once. */
export function freshSalt(): Buffer {
  if (offset === pool.length) {
    // A new buffer each time: salts already handed out are views into the old one.
    pool = randomFillSync(Buffer.allocUnsafeSlow(saltsInPool * saltBytes))
    offset = 0
  }
  offset += saltBytes
  return pool.subarray(offset - saltBytes, offset)
}
