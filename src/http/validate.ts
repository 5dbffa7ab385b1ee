/** From a Zod schema's issues to the `errors` of a 422: a path, a code of the closed list, and words of our own. */
import type { z } from 'zod'
import { fieldErrorCodes, invalid, maxFieldErrors, type FieldError, type FieldErrorCode } from '../errors.js'

/**
 * Parses what a client sent.
 * @throws AnnalsError `invalid` with one entry of `errors` per place, 50 at most
 */
export function parseInput<T>(schema: z.ZodType<T>, input: unknown): T {
  const parsed = schema.safeParse(input)
  if (parsed.success) return parsed.data
  throw invalid(fieldErrorsOf(parsed.error, input))
}

/** What is wrong with `input`, place by place. */
export const fieldErrorsOf = (error: z.ZodError, input: unknown): FieldError[] =>
  error.issues.flatMap((issue) => errorsOfIssue(issue, input)).slice(0, maxFieldErrors)

type Issue = z.core.$ZodIssue
type Step = PropertyKey

/** `targets[0].name`; a key that is no plain word stands in brackets, as JSON writes it. */
export function formatPath(steps: readonly Step[]): string {
  let path = ''
  for (const step of steps) {
    if (typeof step === 'number') path += `[${step}]`
    else if (/^[A-Za-z_$][\w$-]*$/.test(String(step))) path += path === '' ? String(step) : `.${String(step)}`
    else path += `[${JSON.stringify(String(step))}]`
  }
  return path
}

function valueAt(input: unknown, steps: readonly Step[]): unknown {
  let value = input
  for (const step of steps) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, step)) return undefined
    value = Reflect.get(value, step)
  }
  return value
}

function errorsOfIssue(issue: Issue, input: unknown): FieldError[] {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({
      path: formatPath([...issue.path, key]),
      code:
        key === '__proto__' || key === 'constructor' || key === 'prototype'
          ? 'forbidden_key'
          : 'unknown_field',
      message: 'is not a field that this request takes',
    }))
  }
  const [code, message] = describe(issue, valueAt(input, issue.path) === undefined)
  return [{ path: formatPath(issue.path), code, message }]
}

/** The issues of a value that is there or is not: which code, in which words. Nothing sent is quoted. */
function describe(issue: Issue, absent: boolean): [FieldErrorCode, string] {
  if (absent && issue.code !== 'custom') return ['missing', 'is needed']
  switch (issue.code) {
    case 'invalid_type':
      return ['wrong_type', `must be of type ${issue.expected}`]
    case 'too_big':
      return tooBig(issue)
    case 'too_small':
      return tooSmall(issue)
    case 'invalid_value':
      return [
        'not_allowed',
        `must be ${issue.values.length > 1 ? 'one of ' : ''}${issue.values.map(String).join(', ')}`,
      ]
    case 'invalid_union':
      return ['wrong_type', 'is none of the types that this field takes']
    case 'custom':
      return [customCode(issue.params?.['code']), issue.message]
    case 'invalid_format':
      return [isIdPath(issue.path) ? 'malformed_id' : 'malformed_value', formatHint(issue)]
    case 'not_multiple_of':
    case 'invalid_key':
    case 'invalid_element':
    case 'unrecognized_keys':
      return ['malformed_value', 'does not have the form that this field takes']
  }
}

const isIdPath = (steps: readonly Step[]) => /^(id|[a-z]+Id)$/.test(String(steps.at(-1)))

const formatHint = ({ pattern }: z.core.$ZodIssueInvalidStringFormat): string =>
  pattern === undefined ? 'does not have the form that this field takes' : `must match ${pattern}`

const tooBig = ({ origin, maximum }: z.core.$ZodIssueTooBig): [FieldErrorCode, string] => {
  if (origin === 'string') return ['too_long', `has more than ${String(maximum)} characters`]
  if (origin === 'array' || origin === 'set') return ['too_many', `has more than ${String(maximum)} items`]
  return ['too_large', `is over ${String(maximum)}`]
}

const tooSmall = ({ origin, minimum }: z.core.$ZodIssueTooSmall): [FieldErrorCode, string] => {
  if (origin === 'string') return ['too_short', `has fewer than ${String(minimum)} characters`]
  if (origin === 'array' || origin === 'set') return ['too_few', `has fewer than ${String(minimum)} items`]
  return ['too_small', `is under ${String(minimum)}`]
}

/** A refinement names its code in `params: { code }`. */
const customCode = (code: unknown): FieldErrorCode =>
  fieldErrorCodes.find((known) => known === code) ?? 'malformed_value'
