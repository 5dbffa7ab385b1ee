/** The hash function and encodings of verification as Node has them. */
import { hash } from 'node:crypto'
import { nodeHasher } from '../transparency-log/node-crypto.js'
import { createCheckEvent, type ByteTools } from './event-check.js'

const nodeBytes: ByteTools<Buffer> = {
  alloc: (length) => Buffer.allocUnsafeSlow(length),
  // A string of one byte a character: measured, quicker than a buffer of its own for each digest.
  hashInto: (data, into, at) => void into.write(hash('sha256', data, 'binary'), at, 'latin1'),
  // Node leaves out what is no base64, so that such a text has too few bytes.
  base64Into: (text, into, at) => into.write(text, at, 'base64'),
}

export const nodeRules = {
  hasher: nodeHasher,
  checkEvent: createCheckEvent(nodeBytes),
  sha256: (bytes: Uint8Array) => hash('sha256', bytes, 'hex'),
}
