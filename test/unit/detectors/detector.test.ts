import { describe, expect, test } from 'vitest'
import { canonicalJson } from '../../../src/events/canonical-json.js'
import type { JsonValue } from '../../../src/events/contract.js'
import { createDetector, redactText } from '../../../src/events/detectors/detector.js'
import { patternLimits, patternProblem } from '../../../src/events/detectors/patterns.js'

const search = createDetector().begin()
const redact = (text: string) => redactText(text, search.find(text))
const kinds = (value: JsonValue) => search.kindsIn(value, canonicalJson(value))

test.each([
  [
    'write to jane@acme.example or call +1 202-555-0143',
    'write to [redacted:email] or call [redacted:phone]',
  ],
  ['card 4111 1111 1111 1111 2026', 'card [redacted:card] 2026'],
  ['DE89 3704 0044 0532 0130 00 BIC', '[redacted:iban] BIC'],
  ['203.0.113.7:8443 and [2001:db8::1]:443', '[redacted:ip]:8443 and [[redacted:ip]]:443'],
  ['fe80::1%eth0 up', '[redacted:ip] up'],
  ['?email=jane%40acme.example&x', '?email=[redacted:email]&x'],
  ['nothing here, 12:30, version 1.2.3.4', 'nothing here, 12:30, version 1.2.3.4'],
])('%s', (text, expected) => {
  expect(redact(text)).toBe(expected)
})

describe('in JSON', () => {
  test('keys, values at any depth, JSON inside strings, and numbers that are cards', () => {
    expect(kinds({ a: [{ b: 'x jane@acme.example' }] })).toEqual(['email'])
    expect(kinds({ 'jane@acme.example': true })).toEqual(['email'])
    expect(kinds(['raw', JSON.stringify({ ip: '203.0.113.7', note: '\n+12025550143' })])).toEqual(['ip'])
    expect(kinds({ pan: 4111111111111111 })).toEqual(['card'])
    expect(kinds({ at: 1732528800000, id: 4111111111111112, ok: true, none: null })).toEqual([])
  })

  test('behind an escape', () => {
    expect(kinds(['k', 'a\nDE89370400440532013000'])).toEqual(['iban'])
    expect(kinds(['k', '\t203.0.113.7\n'])).toEqual(['ip'])
    expect(kinds(['k', '\u0001fe80::1:2'])).toEqual(['ip'])
  })
})

describe("an organization's patterns", () => {
  const find = (pattern: string, text: string) =>
    createDetector([{ name: 'own', pattern }])
      .begin()
      .find(text)

  test('find what they say, beside the built-in kinds', () => {
    const own = createDetector([{ name: 'staff', pattern: '\\bEMP-\\d{6}\\b' }]).begin()
    const text = 'EMP-123456 wrote to jane@acme.example 🙂 EMP-654321'
    expect(redactText(text, own.find(text))).toBe(
      '[redacted:staff] wrote to [redacted:email] 🙂 [redacted:staff]',
    )
    expect(own.kindsIn(['staff', 'EMP-123456'], '["staff","EMP-123456"]')).toEqual(['staff'])
  })

  test('are refused where they need more than linear time, are too large, or match nothing at all', () => {
    for (const pattern of ['(?=a)b', '(a)\\1', '(', '((a{100}){100}){100}', 'x'.repeat(257), 'a*', ''])
      expect(patternProblem({ name: 'own', pattern }), pattern).toBeDefined()
    expect(patternProblem({ name: 'email', pattern: 'a' })).toBeDefined()
    expect(patternProblem({ name: 'own', pattern: '(a+)+$' })).toBeUndefined()
  })

  test('an evil pattern ends, and what is not looked at one by one counts as found', () => {
    const text = 'a'.repeat(60_000)
    expect(find('(a+)+b', text)).toEqual([])
    const many = find('a.*z|a', text)
    expect(many).toHaveLength(patternLimits.maxFindings)
    expect(many.at(-1)?.end).toBe(patternLimits.maxTextLength)
  })

  test('one that overlaps a built-in kind hides all of both', () => {
    const own = createDetector([{ name: 'own', pattern: 'acme\\.example says \\w+' }]).begin()
    const text = 'jane@acme.example says hello'
    expect(redactText(text, own.find(text))).toBe('[redacted:email][redacted:own]')
  })
})
