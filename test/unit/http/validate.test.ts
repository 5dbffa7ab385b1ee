import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { AnnalsError } from '../../../src/errors.js'
import { formatPath, parseInput } from '../../../src/http/validate.js'
import { plainText } from '../../../src/organizations/settings.js'

const schema = z.strictObject({
  name: plainText(5),
  kind: z.enum(['a', 'b']),
  count: z.int().min(1).max(9),
  list: z.array(z.strictObject({ id: z.string().regex(/^x/) })).max(2),
  either: z.union([z.string(), z.boolean()]).optional(),
})
const good = { name: 'n', kind: 'a', count: 1, list: [] }

const errorsOf = (input: unknown): Record<string, string> => {
  try {
    parseInput(schema, input)
  } catch (error) {
    if (!(error instanceof AnnalsError)) throw error
    expect(error.code).toBe('invalid')
    expect(JSON.stringify(error.errors.map(({ message }) => message)) + error.detail).not.toContain('jane')
    return Object.fromEntries(error.errors.map(({ path, code }) => [path, code]))
  }
  return {}
}

describe('what does not fit a schema', () => {
  it.each<[unknown, Record<string, string>]>([
    [{ ...good, jane: 1 }, { jane: 'unknown_field' }],
    [{ ...good, list: [{ id: 'x', 'jane doe': 1 }] }, { 'list[0]["jane doe"]': 'unknown_field' }],
    [{ ...good, name: undefined }, { name: 'missing' }],
    [{}, { name: 'missing', kind: 'missing', count: 'missing', list: 'missing' }],
    [{ ...good, name: 7 }, { name: 'wrong_type' }],
    [{ ...good, name: null }, { name: 'wrong_type' }],
    [{ ...good, name: 'jane@acme' }, { name: 'too_long' }],
    [{ ...good, name: '' }, { name: 'too_short' }],
    [{ ...good, name: '\ud800' }, { name: 'lone_surrogate' }],
    [{ ...good, name: 'a\0' }, { name: 'nul_character' }],
    [{ ...good, kind: 'jane' }, { kind: 'not_allowed' }],
    [{ ...good, count: 10 }, { count: 'too_large' }],
    [{ ...good, count: 0 }, { count: 'too_small' }],
    [{ ...good, count: 1.5 }, { count: 'wrong_type' }],
    [{ ...good, list: [{ id: 'x' }, { id: 'jane' }] }, { 'list[1].id': 'malformed_id' }],
    [{ ...good, list: [{}, {}, {}] }, { list: 'too_many' }],
    [{ ...good, either: 7 }, { either: 'wrong_type' }],
    ['text', { '': 'wrong_type' }],
    [undefined, { '': 'missing' }],
  ])('%j', (input, expected) => {
    expect(errorsOf(input)).toEqual(expected)
  })

  it('is refused for a key named __proto__, which JSON can carry', () => {
    const input: unknown = JSON.parse('{"name":"n","kind":"a","count":1,"list":[],"__proto__":{"x":1}}')
    expect(() => parseInput(schema, input)).toThrow(
      expect.objectContaining({ errors: [expect.objectContaining({ code: 'forbidden_key' })] }) as Error,
    )
  })

  it('names 50 places at most', () => {
    const many = Object.fromEntries(Array.from({ length: 1_000 }, (_, index) => [`k${String(index)}`, 1]))
    expect(Object.keys(errorsOf({ ...good, ...many }))).toHaveLength(50)
  })
})

it('writes a path with dots for words and brackets for the rest', () => {
  expect(formatPath(['targets', 0, 'metadata', 'a.b', '$ref', 'x y'])).toBe(
    'targets[0].metadata["a.b"].$ref["x y"]',
  )
  expect(formatPath([])).toBe('')
})
