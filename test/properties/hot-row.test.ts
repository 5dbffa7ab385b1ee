/** The short cuts, from a row of the hot store to its line, and from a line to its leaf, say what the long ways say. */
import { randomBytes } from 'node:crypto'
import { BSON } from 'mongodb'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { addHotRow } from '../../src/archive/hot-row.js'
import { LineBuffer } from '../../src/archive/line-buffer.js'
import {
  archivable,
  formatContentLine,
  leafHashOfLine,
  parseContentLines,
  storedEventOf,
} from '../../src/archive/segment.js'
import { rebuildLeaf } from '../../src/events/rebuild.js'
import { eventIdOf, type StoredEvent } from '../../src/events/store.js'

const organizationId = 'org_acme'
const documentId = `${organizationId}/evt_01h455vb4pex5vsknk084sn02q`

const bytes = (length: number) =>
  fc.uint8Array({ minLength: length, maxLength: length }).map((b) => Buffer.from(b))
const json = fc.jsonValue({ maxDepth: 2, stringUnit: 'grapheme' }).map((value) => JSON.stringify(value))
const terms = fc.array(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), { maxLength: 20 })
const slot = fc.constantFrom('actor', 'target/0', 'context', 'metadata/12')
/** Every form of store.ts. */
const field = fc.oneof(
  fc.record({ slot, salt: bytes(16), value: json, terms }, { requiredKeys: ['slot', 'salt', 'value'] }),
  fc.record({ slot, commitment: bytes(32) }),
  fc.record(
    {
      ...{ slot, subject: fc.constant('sub_aaaaaaaaaaaaaaaaaaaaaaaaaa'), subjectSalt: bytes(16) },
      ...{ sealed: fc.uint8Array({ maxLength: 90 }).map((b) => Buffer.from(b)), commitment: bytes(32) },
      ...{ terms, restricted: fc.constant('erasure_01h455vb4pex5vsknk084sn02q') },
    },
    { requiredKeys: ['slot', 'subject', 'subjectSalt', 'sealed', 'commitment'] },
  ),
  fc.record({ slot, subject: fc.constant('sub_b'), subjectSalt: bytes(16), commitment: bytes(32) }),
)
const word = fc.constantFrom('team.member.invited', 'user', 'success', 'a b/c')
const row = fc.record({
  ...{ _id: fc.constant(documentId), organizationId: fc.constant(organizationId), v: fc.constant(1) },
  ...{ action: word, category: word, outcome: word, version: fc.nat({ max: 1_000 }) },
  ...{ occurredAt: fc.date({ noInvalidDate: true }), receivedAt: fc.date({ noInvalidDate: true }) },
  ...{ actorType: word, targetTypes: fc.array(word, { maxLength: 12 }) },
  fields: fc.tuple(fc.record({ terms }), fc.array(field, { maxLength: 12 })).map(([a, b]) => [a, ...b]),
  ...{ leafHash: bytes(32), mac: bytes(32) },
})

const packed = (given: object) => Buffer.from(BSON.serialize(given))
const decoded = (of: Buffer) =>
  BSON.deserialize(of, { useBigInt64: true, promoteBuffers: true, validation: { utf8: true } }) as StoredEvent

/** By the long way: the line of the row, if the leaf that it makes were the one in the log. */
function longWay(of: Buffer) {
  const event = decoded(of)
  const made = event._id === documentId ? rebuildLeaf(event) : undefined
  if (made === undefined) return undefined
  const leaf = { index: 7, eventId: eventIdOf(documentId), sealedAt: new Date(0), leafHash: made.leafHash }
  const { record } = archivable(organizationId, { ...leaf, record: '', row: of })
  expect(record).toBe(made.record)
  return { ...made, line: formatContentLine(7, leaf.eventId, event), occurredAt: event.occurredAt }
}

function shortCut(of: Buffer) {
  // So small that it has to grow, and with something in it that has to stay.
  const into = new LineBuffer(16)
  into.add('before\n')
  const made = addHotRow(into, 7, documentId, of)
  const text = into.written.toString('utf8')
  expect(text.startsWith('before\n')).toBe(true)
  if (made === undefined) expect(text).toBe('before\n')
  return made === undefined ? undefined : { ...made, line: text.slice('before\n'.length) }
}

test('every row that intake writes takes the short cut, to the same line, record and leaf', () => {
  fc.assert(
    fc.property(row, (given) => {
      const of = packed(given)
      const made = shortCut(of)
      expect(made).toBeDefined()
      expect(made).toEqual(longWay(of))
    }),
  )
})

/** What may stand in a row that somebody edited. */
const oddity = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    true,
    1.5,
    1n,
    2n ** 62n,
    2 ** 40,
    '',
    '"',
    'a\\b',
    '\u0000',
    '\u007f',
    'é',
    '\ufeff"a"',
    '\u2028',
  ),
  fc.constantFrom<unknown>(
    [],
    {},
    ['a'],
    [1],
    [1n, 2],
    new Date(Number.NaN),
    new Date(8.64e15),
    /a/,
    [{}],
    [[]],
  ),
  fc.constantFrom<unknown>(
    new BSON.Binary(randomBytes(16), 4),
    new BSON.ObjectId(),
    new BSON.Int32(1),
    new BSON.Double(1),
  ),
  bytes(16),
  bytes(32),
  json,
)
const memberOfRow = fc.constantFrom(
  ...[
    '_id',
    'organizationId',
    'v',
    'action',
    'version',
    'occurredAt',
    'actorType',
    'targetTypes',
    'fields',
    'stranger',
  ],
)
const memberOfField = fc.constantFrom(
  ...[
    'slot',
    'salt',
    'value',
    'subject',
    'subjectSalt',
    'sealed',
    'commitment',
    'terms',
    'restricted',
    'stranger',
  ],
)

test('a row that was edited to anything takes the long way, or comes to the same', () => {
  fc.assert(
    fc.property(row, memberOfRow, memberOfField, oddity, fc.nat(3), (given, member, inField, odd, how) => {
      const edited: Record<string, unknown> = { ...given }
      const fields: Record<string, unknown>[] = given.fields.map((each) => ({ ...each }))
      if (how === 0) edited[member] = odd
      else if (how === 1) Reflect.deleteProperty(edited, member)
      else if (how === 2) Object.assign(fields[fields.length - 1] ?? {}, { [inField]: odd })
      else Reflect.deleteProperty(fields[fields.length - 1] ?? {}, inField)
      if (how > 1) edited['fields'] = fields
      const of = packed(edited)
      const made = shortCut(of)
      if (made !== undefined) expect(made).toEqual(longWay(of))
    }),
    { numRuns: 2_000 },
  )
})

test('a row of which any one byte is another is no other event by the short cut', () => {
  fc.assert(
    fc.property(row, fc.nat(), fc.integer({ min: 1, max: 255 }), (given, where, by) => {
      const of = packed(given)
      const at = where % of.length
      of[at] = (of[at] ?? 0) ^ by
      const made = shortCut(of)
      if (made === undefined) return
      let other: ReturnType<typeof longWay>
      try {
        other = longWay(of)
      } catch {
        // The driver refuses a text that is in neither line nor leaf.
        return
      }
      expect(made).toEqual(other)
    }),
    { numRuns: 3_000 },
  )
})

test('verifying rebuilds the same leaf from a line as reading does, or admits as it does that it cannot', () => {
  const oddText = fc.constantFrom<unknown>(
    '',
    'AAAA',
    '0',
    '00000000000000zz',
    'ABCDEF0123456789',
    null,
    1,
    [],
    {},
    undefined,
  )
  const memberOfLine = fc.constantFrom('v', 'version', 'occurredAt', 'action', 'targetTypes', 'fields')
  fc.assert(
    fc.property(row, memberOfLine, memberOfField, oddText, fc.nat(2), (given, member, inField, odd, how) => {
      const line = formatContentLine(7, eventIdOf(documentId), decoded(packed(given)))
      const [parsed] = parseContentLines(Buffer.from(line))
      const edited: Record<string, unknown> = { ...parsed }
      if (how === 1) edited[member] = odd
      const last = given.fields.length - 1
      if (how === 2 && Array.isArray(edited['fields']))
        edited['fields'] = (edited['fields'] as object[]).map((each, at) =>
          at === last ? { ...each, [inField]: odd } : each,
        )
      const read = { ...edited, index: 7, id: eventIdOf(documentId) }
      const whole = storedEventOf(organizationId, read)?.leafHash
      expect(leafHashOfLine(organizationId, read)).toEqual(whole)
      if (how === 0) expect(whole).toBeDefined()
    }),
    { numRuns: 1_000 },
  )
})

test('two members of one name, and a byte order mark, which decoding drops, take the long way', () => {
  const clear = { slot: 'actor', salt: randomBytes(16), value: '"a"' }
  const [one] = fc.sample(row, { numRuns: 1, seed: 7 })
  const twice = packed({ ...one, fields: [{ ...clear, valuf: '"b"' }] })
  twice.write('value', twice.indexOf('valuf'), 'latin1')
  for (const of of [twice, packed({ ...one, fields: [{ ...clear, value: '\ufeff"a"' }] })]) {
    expect(longWay(of)).toBeDefined()
    expect(shortCut(of)).toBeUndefined()
  }
})
