import { expect, it } from 'vitest'
import { bearerSecret, hashSecret, newSecret } from '../../../src/access/secrets.js'

it('a secret names its key and has 256 random bits', () => {
  const secret = newSecret('key_01jd2zq8w9e5cs0v1m6k3n7p4r')
  expect(secret).toMatch(/^annals_01jd2zq8w9e5cs0v1m6k3n7p4r_[A-Za-z0-9_-]{43}$/)
  expect(newSecret('key_01jd2zq8w9e5cs0v1m6k3n7p4r')).not.toBe(secret)
  expect(bearerSecret(`Bearer ${secret}`)).toBe(secret)
})

it('a hash is SHA-256 in unpadded base64url', () => {
  expect(hashSecret('abc')).toBe('ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0')
})

it.each([
  undefined,
  '',
  'Bearer',
  'Bearer ',
  'Basic abc',
  'Bearer a b',
  'Bearer ü',
  `Bearer ${'x'.repeat(513)}`,
])('there is no secret in %j', (authorization) => expect(bearerSecret(authorization)).toBeUndefined())
