import { expect, test } from 'vitest'
import { exitCodes, failureOf } from '../../../src/cli/exit.js'
import { AnnalsClientError } from '../../../src/client/index.js'
import { AnnalsError } from '../../../src/errors.js'

const errors = [
  { path: 'confirm', code: 'missing' as const, message: 'confirm that all of them are meant' },
  { path: '', code: 'too_large' as const, message: 'is too long' },
]
const said = 'It does not fit.\n  confirm: confirm that all of them are meant\n  the whole: is too long'

test('what is wrong where is said, whether a server found it or this process', () => {
  const problem = { status: 422, code: 'invalid' as const, errors }
  for (const error of [
    new AnnalsClientError('invalid', 'It does not fit.', { status: 422, problem }),
    new AnnalsError('invalid', 'It does not fit.', { errors }),
  ])
    expect(failureOf(error)).toEqual({ exitCode: exitCodes.usage, text: said, code: 'invalid' })
})

test('a server that is not there is no mistake of the caller', () => {
  const error = new AnnalsClientError('unreachable', 'Annals cannot be reached.')
  expect(failureOf(error)).toEqual({
    exitCode: exitCodes.unreachable,
    text: 'Annals cannot be reached.',
    code: 'unreachable',
  })
})
