import canonicalize from 'canonicalize'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { canonicalJson } from '../../src/events/canonical-json.js'
import type { JsonValue } from '../../src/events/contract.js'
import { fieldsDigest, recordJson } from '../../src/events/record.js'
import { actionPattern, typePattern } from '../../src/events/schema.js'

/** Any JSON value a body can hold, with keys and texts from all of Unicode but lone surrogates. */
const json = fc
  .jsonValue({ maxDepth: 5, stringUnit: 'binary' })
  .map((value) => JSON.parse(JSON.stringify(value)) as JsonValue)

test('canonicalJson is RFC 8785, as the canonicalize package does it', () => {
  fc.assert(
    fc.property(json, (value) => {
      expect(canonicalJson(value)).toBe(canonicalize(value))
    }),
    { numRuns: 2_000 },
  )
})

test('canonicalJson sorts by UTF-16 code units, and writes numbers as ECMAScript does', () => {
  const value = { '\u20ac': 1, '\r': 2, '\ufb33': 3, '1': 4, '\ud83d\ude00': 5, '\u0080': 6, '\u00f6': 7 }
  expect(canonicalJson(value)).toBe(canonicalize(value))
  expect(canonicalJson([333333333.3333333, 1e30, 4.5, 2e-3, 1e-27, -0])).toBe(
    '[333333333.3333333,1e+30,4.5,0.002,1e-27,0]',
  )
})

const time = fc.date({
  min: new Date('0001-01-01T00:00:00Z'),
  max: new Date('9999-12-31T00:00:00Z'),
  noInvalidDate: true,
})

test('recordJson, written by hand, is the canonical JSON of the record', () => {
  fc.assert(
    fc.property(
      fc.record({
        organizationId: fc.stringMatching(/^[A-Za-z0-9_-]{1,64}$/),
        id: fc.constant('evt_01h455vb4pex5vsknk084sn02q'),
        action: fc.stringMatching(actionPattern),
        category: fc.constantFrom('account', 'product', 'automation', 'system'),
        outcome: fc.constantFrom('success', 'failure', 'denied'),
        version: fc.integer({ min: 1, max: 1_000_000 }),
        occurredAt: time,
        receivedAt: time,
        actorType: fc.stringMatching(typePattern),
        targetTypes: fc.array(fc.stringMatching(typePattern), { maxLength: 5 }),
      }),
      (envelope) => {
        const fields = fieldsDigest([])
        const { occurredAt, receivedAt, ...rest } = envelope
        const record = {
          ...rest,
          v: 1,
          fields,
          occurredAt: occurredAt.toISOString(),
          receivedAt: receivedAt.toISOString(),
        }
        expect(recordJson(envelope, fields)).toBe(canonicalize(record))
      },
    ),
  )
})
