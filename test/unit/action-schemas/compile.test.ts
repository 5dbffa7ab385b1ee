import { expect, test } from 'vitest'
import { compileSchema } from '../../../src/action-schemas/compile.js'

const checkOf = (pattern: string) => {
  const check = compileSchema({ properties: { metadata: { properties: { a: { pattern } } } } })
  if (typeof check !== 'function') throw new Error('the schema was refused')
  return (a: string) => check({ targets: [], context: {}, metadata: { a } })
}

test('each schema is held to its own patterns, whatever others were compiled before', () => {
  const digits = checkOf('^\\d+$')
  const letters = checkOf('^[a-z]+$')
  expect([digits('12'), letters('ab')]).toEqual([[], []])
  for (const errors of [digits('ab'), letters('12')])
    expect(errors).toEqual([
      { path: 'metadata.a', code: 'malformed_value', message: "does not fit the action's schema: pattern" },
    ])
})

test('two patterns in one schema are two', () => {
  const check = compileSchema({
    properties: {
      metadata: { patternProperties: { '^n_': { pattern: '^\\d$' }, '^t_': { pattern: '^[a-z]$' } } },
    },
  })
  if (typeof check !== 'function') throw new Error('the schema was refused')
  const errors = (metadata: Record<string, string>) => check({ targets: [], context: {}, metadata })
  expect(errors({ n_a: '1', t_a: 'x' })).toEqual([])
  expect(errors({ n_a: 'x' })).toHaveLength(1)
  expect(errors({ t_a: '1' })).toHaveLength(1)
})
