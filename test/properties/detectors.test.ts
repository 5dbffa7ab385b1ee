import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { canonicalJson } from '../../src/events/canonical-json.js'
import { findCards, passesLuhn } from '../../src/events/detectors/card.js'
import { createDetector, redactText } from '../../src/events/detectors/detector.js'
import { findEmails } from '../../src/events/detectors/email.js'
import { hint, hintsOf } from '../../src/events/detectors/hints.js'
import { findIbans } from '../../src/events/detectors/iban.js'
import { findIps } from '../../src/events/detectors/ip.js'
import { findPhones } from '../../src/events/detectors/phone.js'
import { corpus } from '../unit/detectors/corpus.js'

const finders = { email: findEmails, phone: findPhones, card: findCards, iban: findIbans, ip: findIps }
const kinds = Object.keys(finders) as (keyof typeof finders)[]

const labels = corpus().flatMap(({ text, spans }) => spans.map(({ start, end }) => text.slice(start, end)))
/** Texts glued together from what detectors care about. */
const glued = fc
  .array(
    fc.oneof(
      { weight: 3, arbitrary: fc.constantFrom(...labels) },
      fc.constantFrom(
        ...' \n\t"\\@%+:.-_/=(){}[],;'.split(''),
        '::',
        '%40',
        '%2B',
        ' - ',
        'a',
        'Z',
        'é',
        '🙂',
        '\u0001',
      ),
      fc.string({ maxLength: 4 }),
      fc.nat().map(String),
    ),
    { maxLength: 12 },
  )
  .map((parts) => parts.join(''))
  .filter((text) => text.isWellFormed())

describe('for any text', () => {
  test('the quick look never says no where a finder finds something, in the text or in JSON that holds it', () => {
    fc.assert(
      fc.property(glued, (text) => {
        for (const kind of kinds) {
          if (finders[kind](text).length === 0) continue
          expect(hintsOf(text) & hint[kind], `${kind} in ${text}`).not.toBe(0)
          expect(hintsOf(canonicalJson([text])) & hint[kind], `${kind} in JSON of ${text}`).not.toBe(0)
        }
      }),
      { numRuns: 3_000 },
    )
  })

  test('findings lie in order inside the text, and do not overlap', () => {
    const detector = createDetector([{ name: 'own', pattern: '[a-z]+@|\\d{3}' }])
    fc.assert(
      fc.property(glued, (text) => {
        let end = 0
        for (const finding of detector.begin().find(text)) {
          expect(finding.start).toBeGreaterThanOrEqual(end)
          expect(finding.end).toBeGreaterThan(finding.start)
          end = finding.end
        }
        expect(end).toBeLessThanOrEqual(text.length)
      }),
      { numRuns: 1_000 },
    )
  })

  test('redacting keeps everything else, and no part of what was found', () => {
    const search = createDetector().begin()
    fc.assert(
      fc.property(glued, (text) => {
        const findings = search.find(text)
        const pieces = redactText(text, findings).split(/\[redacted:[a-z]+\]/)
        let from = 0
        const expected = findings.map(({ start, end }) => {
          const piece = text.slice(from, start)
          from = end
          return piece
        })
        expect(pieces).toEqual([...expected, text.slice(from)])
      }),
    )
  })
})

test('a card number with one digit changed is none', () => {
  const digits = fc.array(fc.nat({ max: 9 }), { minLength: 15, maxLength: 15 })
  fc.assert(
    fc.property(digits, fc.nat({ max: 15 }), fc.integer({ min: 1, max: 9 }), (body, at, shift) => {
      const check = '0123456789'.split('').find((digit) => passesLuhn(body.join('') + digit)) ?? ''
      const number = body.join('') + check
      const changed = number
        .split('')
        .map((digit, index) => (index === at ? (Number(digit) + shift) % 10 : digit))
        .join('')
      expect(passesLuhn(changed)).toBe(false)
    }),
  )
})

test('a text of a million characters made to be slow is through', () => {
  const search = createDetector().begin()
  const length = 1_000_000
  for (const unit of [
    '@',
    'a@',
    'a.',
    '1',
    '1-',
    '1 ',
    'a',
    '1.',
    ':',
    'f:',
    '::',
    '+',
    '+1 ',
    'DE12',
    '%40',
    '%2B1',
    'a'.repeat(63) + '@',
  ])
    search.find(unit.repeat(Math.ceil(length / unit.length)))
})
