import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createTextMatcher } from '../../src/erasure/matching.js'
import { createTextSieve } from '../../src/erasure/sieve.js'

const id = (value: string) => ({ kind: 'id' as const, type: 'user', value })
const email = (value: string) => ({ kind: 'email' as const, value })
const json = (value: unknown) => JSON.stringify(value)
const hits = (identifier: { kind: 'id' | 'email' | 'phone' | 'other'; value: string }, value: unknown) =>
  createTextMatcher([identifier]).find(json(value)).length === 1

describe('an identifier is found at token boundaries', () => {
  test.each([
    [
      'u_17',
      ['u_17', 'by u_17.', 'x/u_17/y', 'a,u_17;b', { u_17: 1 }, ['a\nu_17\n']],
      ['u_171', 'xu_17', 'u_17_b', 'U_17'],
    ],
    ['1234567', [1234567, '1234567'], [12345678, '0x91234567']],
  ])('id %s', (value, inside, outside) => {
    for (const text of inside) expect(hits(id(value), text), json(text)).toBe(true)
    for (const text of outside) expect(hits(id(value), text), json(text)).toBe(false)
  })

  test('an e-mail is not found in a longer one', () => {
    const jane = email('jane@acme.example')
    for (const text of [
      'jane@acme.example',
      'To: JANE@Acme.example.',
      '<jane@acme.example>',
      'mailto:jane@acme.example?x',
    ])
      expect(hits(jane, text), text).toBe(true)
    for (const text of [
      'mary.jane@acme.example',
      'jane@acme.example.org',
      'x+jane@acme.example',
      'jane@acme.examples',
    ])
      expect(hits(jane, text), text).toBe(false)
  })

  test('a phone number is found however its digits are set apart', () => {
    const phone = { kind: 'phone' as const, value: '+49 30 1234567' }
    for (const text of ['+49301234567', '0049 30 1234567', '+49 (30) 123-45-67', 'tel:+49-30-1234567'])
      expect(hits(phone, text), text).toBe(true)
    expect(hits(phone, '+493012345678')).toBe(false)
  })

  test('a name is found without regard to case, blanks and composition', () => {
    const name = { kind: 'other' as const, value: 'Zoé  Doe' }
    for (const text of ['zoé doe', 'ZOÉ\tDOE', 'with Zoe\u0301 Doe, again'])
      expect(hits(name, text), text).toBe(true)
    expect(hits(name, 'Zoé Doering')).toBe(false)
  })
})

const identifierText = fc.stringMatching(/^[a-z][a-z0-9._]{5,20}[a-z0-9]@[a-z]{3,10}\.example$/)
/** What text is wrapped in: each keeps it whole. */
const encodings: Record<string, (text: string) => string> = {
  plain: (text) => text,
  url: (text) => `https://x.example/?to=${encodeURIComponent(text)}&n=1`,
  'json in a string': (text) => JSON.stringify({ note: `line\n${text}` }),
  html: (text) => `<b>${text.replace('@', '&#64;')}</b>`,
  'escaped ascii': (text) => text.replace('@', '\\u0040'),
}

test('an identifier is found through any two encodings', () => {
  const names = fc.constantFrom(...Object.keys(encodings))
  fc.assert(
    fc.property(identifierText, names, names, fc.string(), (value, inner, outer, noise) => {
      const text = encodings[outer]?.(encodings[inner]?.(value) ?? '') ?? ''
      return hits(email(value), [noise, text])
    }),
  )
})

test('an identifier is found in base64 at any alignment', () => {
  fc.assert(
    fc.property(identifierText, fc.string(), fc.string(), (value, before, after) => {
      const text = Buffer.from(`${before}${value}${after}`).toString('base64')
      return hits(email(value), `token ${text}`)
    }),
  )
})

test('what is not there is not found, and nothing throws', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const text = json(value)
      fc.pre(!text.toLowerCase().includes('nobody'))
      return createTextMatcher([email('nobody@acme.example'), id('nobody-17')]).find(text).length === 0
    }),
  )
})

describe('what the sieve says no to, the matcher finds nothing in', () => {
  const kinds = fc.constantFrom('id' as const, 'email' as const, 'phone' as const, 'other' as const)
  const mayHold = (identifier: Parameters<typeof createTextSieve>[0], text: string) => {
    const bytes = Buffer.from(text)
    return createTextSieve(identifier).mayHold(bytes, 0, bytes.length)
  }

  test('through any encoding, spelling and neighbours', () => {
    const value = fc.oneof(
      identifierText,
      fc.stringMatching(/^[A-Za-z]{3,9}[ .+/-][A-Za-z]{3,9}$/),
      fc.stringMatching(/^\+?[0-9]{2,4}[ /-]?[0-9]{3,8}$/),
      fc.string({ minLength: 1, maxLength: 12, unit: 'grapheme' }),
    )
    const spellings: readonly ((text: string) => string)[] = [
      ...Object.values(encodings),
      (text) => text.toUpperCase(),
      (text) => text.replaceAll(' ', '+'),
      (text) => Array.from(text).join(' '),
      (text) => Buffer.from(text).toString('base64'),
      (text) => Buffer.from(`x${text}`).toString('base64url'),
      (text) => text.normalize('NFD'),
    ]
    fc.assert(
      fc.property(kinds, value, fc.constantFrom(...spellings), fc.string(), (kind, value, spell, noise) => {
        const text = json([noise, `${noise} ${spell(value)} ${noise}`, { [spell(value)]: `a=b+${noise}` }])
        const found = createTextMatcher([{ kind, value }]).find(text).length > 0
        return !found || mayHold([{ kind, value }], text)
      }),
      { numRuns: 600 },
    )
  })

  /** What escapes look like, whole and in part, and what may stand between them. */
  const fragments = [
    '\\\\',
    '\\n',
    '\\"',
    '\\/',
    '\\u',
    '\\u0040',
    '\\x40',
    '\\U0041',
    '\\',
    '%',
    '%2',
    '%20',
    '%22',
    '%2F',
    '%25',
    '%26',
    '%5C',
    '%40',
    '%31',
    '&',
    '&#',
    '&#64;',
    '&#x40;',
    '&amp;',
    '&lt',
    ';',
    '+',
    '=',
    ' ',
    '"',
    '/',
    '0',
    '40',
    'n',
    'é',
  ]

  test('among escapes of every kind, whole or in part, and of escapes', () => {
    const value = fc.constantFrom(
      'jane@acme.example',
      'u_1234567',
      'Jane+Doe/x',
      'AT&T-Corp',
      '50%offs',
      '+49 30 55501',
    )
    const piece = fc.oneof(
      { weight: 2, arbitrary: fc.constantFrom(...fragments) },
      { weight: 1, arbitrary: fc.constant('value') },
      { weight: 1, arbitrary: fc.constant('part') },
      { weight: 1, arbitrary: fc.constant('escaped') },
    )
    const escapes: readonly ((text: string) => string)[] = [
      (text) => encodeURIComponent(text),
      (text) => text.replace(/./g, (character) => `&#${String(character.charCodeAt(0))};`),
      (text) =>
        text.replace(/./g, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`),
      (text) => text.replace(/./g, (character) => `%${character.charCodeAt(0).toString(16)}`),
      (text) => json(text).slice(1, -1),
      (text) => Buffer.from(text).toString('base64').replaceAll('/', '\\/'),
      (text) => Array.from(text).join('\\n'),
      (text) => Array.from(text).join('%20'),
    ]
    let found = 0
    fc.assert(
      fc.property(
        kinds,
        value,
        fc.array(piece, { minLength: 1, maxLength: 12 }),
        fc.array(fc.constantFrom(...escapes), { maxLength: 2 }),
        fc.nat(),
        fc.boolean(),
        (kind, value, pieces, escape, cut, asJson) => {
          const at = cut % value.length
          const parts: Readonly<Record<string, string>> = {
            value,
            part: value.slice(0, at),
            escaped: escape.reduce((text, one) => one(text), value.slice(at)),
          }
          const plain = pieces.map((one) => parts[one] ?? one).join('')
          const text = asJson ? json({ [plain]: [plain, 1] }) : plain
          if (createTextMatcher([{ kind, value }]).find(text).length === 0) return true
          found += 1
          return mayHold([{ kind, value }], text)
        },
      ),
      { numRuns: 5_000 },
    )
    expect(found).toBeGreaterThan(200)
  })

  test('where a slash of base64 is escaped, and where an entity is as long as they get', () => {
    const value = 'who???@acme.example'
    const base64 = Buffer.from(value).toString('base64')
    expect(base64).toContain('/')
    for (const text of [base64.replaceAll('/', '\\/'), base64.replaceAll('/', '%2F')]) {
      expect(hits(email(value), text), text).toBe(true)
      expect(mayHold([email(value)], json(text)), text).toBe(true)
    }
    for (const entity of ['&#0000097;', '&#x000061;']) {
      const text = 'jane@acme.example'.replaceAll('a', entity)
      expect(hits(email('jane@acme.example'), text), text).toBe(true)
      expect(mayHold([email('jane@acme.example')], json(text)), text).toBe(true)
    }
  })

  test('and it does say no', () => {
    const jane = [{ kind: 'email', value: 'jane@acme.example' } as const, id('u_1234')]
    expect(mayHold(jane, json({ user: 'mary@acme.example', n: [1, 2, 'u_123'] }))).toBe(false)
    expect(mayHold(jane, json({ user: 'JANE@acme.example' }))).toBe(true)
    // Only what lies between start and end counts.
    const bytes = Buffer.from('jane@acme.example')
    expect(createTextSieve(jane).mayHold(bytes, 1, bytes.length)).toBe(false)
    expect(createTextSieve(jane).mayHold(bytes, 0, bytes.length - 1)).toBe(false)
    // Escapes that stand for nothing that an identifier is made of.
    for (const text of ['a\nb "c"', 'https://x.example/a%20b?n=1&m=2', '100% & more', '%zz'])
      expect(mayHold(jane, json({ note: json(text) })), text).toBe(false)
    for (const text of ['%61', '&#97;', '\\u0061', 'é']) expect(mayHold(jane, `"${text}"`), text).toBe(true)
    // Too short to look for: everything may hold it.
    expect(mayHold([{ kind: 'other', value: 'Jo' }], json('nothing'))).toBe(true)
  })
})
