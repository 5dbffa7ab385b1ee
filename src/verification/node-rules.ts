/** The hash function and encodings of verification as Node has them. */
import { nodeHasher, sha256 } from '../transparency-log/node-crypto.js'

export const nodeRules = {
  hasher: nodeHasher,
  rules: {
    sha256,
    fromBase64(text: string): Uint8Array | undefined {
      const bytes = Buffer.from(text, 'base64')
      // Strict: what is written again is the same text.
      return bytes.toString('base64') === text ? bytes : undefined
    },
  },
}
