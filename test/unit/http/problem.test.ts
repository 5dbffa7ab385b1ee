import { readFileSync } from 'node:fs'
import { MongoNetworkError, MongoServerError, MongoServerSelectionError, ReadPreference } from 'mongodb'
import { describe, expect, it } from 'vitest'
import { AnnalsError, errorCodes, fieldErrorCodes } from '../../../src/errors.js'
import { annalsErrorOf, problemDocument } from '../../../src/http/problem.js'
import { problemTable } from '../../../src/http/problem-table.js'

describe('docs/errors.md', () => {
  const text = readFileSync(new URL('../../../docs/errors.md', import.meta.url), 'utf8').replace(/ +/g, ' ')
  const [problems = '', fields = ''] = text.split('## Codes of one place')
  const firstCells = (part: string) => [...part.matchAll(/^\| `([a-z_]+)` \|/gm)].map((match) => match[1])

  it('lists every code of a problem, and no other, with its status and title', () => {
    expect(firstCells(problems).sort()).toEqual([...errorCodes].sort())
    for (const code of errorCodes) {
      const { status, title, meaning } = problemTable[code]
      expect(problems).toContain(`| \`${code}\` | ${status} | ${title} | ${meaning} |`)
    }
  })

  it('lists every code of one place, and no other', () => {
    expect(firstCells(fields).sort()).toEqual([...fieldErrorCodes].sort())
  })
})

describe('a problem document', () => {
  it('carries type, title, status, code, detail, request id, places and further members', () => {
    const error = new AnnalsError('wrong_region', 'Elsewhere.', {
      errors: [{ path: 'region', code: 'conflict', message: 'no' }],
      members: { region: 'us' },
    })
    expect(problemDocument(error, 'r1')).toEqual({
      type: '/docs/errors#wrong_region',
      title: 'The organization lives in another region',
      status: 421,
      code: 'wrong_region',
      detail: 'Elsewhere.',
      requestId: 'r1',
      errors: [{ path: 'region', code: 'conflict', message: 'no' }],
      region: 'us',
    })
  })

  it.each<[string, unknown]>([
    ['a network failure', new MongoNetworkError('jane@acme.example')],
    ['no primary', new MongoServerSelectionError('jane@acme.example', fakeTopology())],
    ['a primary that steps down', new MongoServerError({ message: 'jane@acme.example', code: 189 })],
  ])('of MongoDB being away (%s) is "unavailable" and quotes nothing', (_name, error) => {
    const problem = annalsErrorOf(error)
    expect(problem.code).toBe('unavailable')
    expect(JSON.stringify(problemDocument(problem, 'r'))).not.toContain('jane')
  })

  it.each<[string, unknown]>([
    [
      'a duplicate key',
      new MongoServerError({ message: 'dup key: { email: "jane@acme.example" }', code: 11000 }),
    ],
    ['a bug', new TypeError('jane@acme.example is not a function')],
    ['a thrown string', 'jane@acme.example'],
  ])('of anything else (%s) is "internal" and quotes nothing', (_name, error) => {
    const problem = annalsErrorOf(error)
    expect(problem.code).toBe('internal')
    expect(JSON.stringify(problemDocument(problem, 'r'))).not.toContain('jane')
  })
})

function fakeTopology(): ConstructorParameters<typeof MongoServerSelectionError>[1] {
  // Only its shape is read by the error's constructor.
  return Object.assign(Object.create(null) as ConstructorParameters<typeof MongoServerSelectionError>[1], {
    error: undefined,
    preference: ReadPreference.primary,
  })
}
