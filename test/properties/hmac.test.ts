import { createHmac } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { hmacSha256 } from '../../src/keys/hmac.js'

const key = fc.uint8Array({ minLength: 0, maxLength: 64 })

test('hmacSha256 is HMAC-SHA-256, for bytes and for text', () => {
  fc.assert(
    fc.property(
      key,
      fc.uint8Array({ maxLength: 40_000 }),
      fc.string({ unit: 'binary', maxLength: 8_000 }),
      (secret, bytes, text) => {
        const mac = hmacSha256(secret)
        // Twice and in turn: the scratch buffers keep nothing of the call before.
        for (const data of [bytes, text, bytes]) {
          expect(mac(data)).toEqual(createHmac('sha256', secret).update(data).digest())
        }
      },
    ),
  )
})

test('a key longer than a block is refused', () => {
  expect(() => hmacSha256(new Uint8Array(65))).toThrow('at most 64 bytes')
})
