import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createTextMatcher } from '../../src/erasure/matching.js'

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
