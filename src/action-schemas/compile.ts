/** From a checked schema to a function that says what of an event does not fit it. */
import { Ajv2020, type ErrorObject, type Options } from 'ajv/dist/2020.js'
import type { FieldError, FieldErrorCode } from '../errors.js'
import type { EventInput, JsonObject } from '../events/contract.js'
import { compileSafePattern } from '../events/detectors/safe-pattern.js'
import { actionSchemaLimits, personalKeyword } from './contract.js'

/** What of an event does not fit: the first place, or nothing. */
export type EventCheck = (
  event: Pick<EventInput, 'targets' | 'context' | 'metadata'>,
) => readonly FieldError[]

const safeRegExp = Object.assign(
  (pattern: string) => {
    const expression = compileSafePattern(pattern)
    if (expression === undefined) throw new Error('a pattern that was not checked')
    return {
      test: (text: string) => text.length <= actionSchemaLimits.maxMatchedLength && expression.test(text),
      // ajv tells expressions apart by it: two that read alike are one to it.
      toString: () => `/${pattern}/u`,
    }
  },
  { code: 'unused: no schema is compiled to a file' },
)

/**
 * The first error only: with all of them, a large event against a wide schema makes millions. Formats are
 * annotations, as the dialect has it. Nothing is changed, filled in or fetched.
 */
const options: Options = {
  strict: true,
  strictTypes: false,
  strictTuples: false,
  strictRequired: false,
  allErrors: false,
  ownProperties: true,
  validateFormats: false,
  addUsedSchema: false,
  logger: false,
  code: { regExp: safeRegExp },
  keywords: [personalKeyword],
}

/** Checks schemas against the dialect's own. Compiles nothing of a client's. */
const dialect = new Ajv2020(options)

/**
 * Compiles a schema that `checkSchema` found nothing wrong with.
 * @returns the check, or what is wrong with the schema after all
 */
export function compileSchema(schema: JsonObject): EventCheck | { readonly errors: readonly FieldError[] } {
  try {
    if (dialect.validateSchema(schema) !== true) {
      const errors = (dialect.errors ?? []).slice(0, 20).map(({ instancePath }) => ({
        path: ['schema', ...pointerSteps(instancePath)].join('.'),
        code: 'malformed_value' as const,
        message: 'is not what JSON Schema 2020-12 takes here',
      }))
      return { errors }
    }
    // An instance keeps something of every schema it has compiled: one for each, which goes with its check.
    const validate = new Ajv2020({ ...options, meta: false, validateSchema: false }).compile(schema)
    return ({ targets, context, metadata }) =>
      validate({ targets, context, metadata }) ? [] : (validate.errors ?? []).slice(0, 1).map(fieldErrorOf)
  } catch {
    // Its message quotes the schema.
    const message = 'is no schema that can be compiled in strict mode'
    return { errors: [{ path: 'schema', code: 'malformed_value', message }] }
  }
}

const codes: Readonly<Record<string, FieldErrorCode>> = {
  type: 'wrong_type',
  required: 'missing',
  dependentRequired: 'missing',
  additionalProperties: 'unknown_field',
  unevaluatedProperties: 'unknown_field',
  enum: 'not_allowed',
  const: 'not_allowed',
  maxLength: 'too_long',
  minLength: 'too_short',
  maximum: 'too_large',
  exclusiveMaximum: 'too_large',
  minimum: 'too_small',
  exclusiveMinimum: 'too_small',
  maxItems: 'too_many',
  maxProperties: 'too_many',
  minItems: 'too_few',
  minProperties: 'too_few',
}

function fieldErrorOf({ instancePath, keyword, params }: ErrorObject): FieldError {
  const { missingProperty, additionalProperty, unevaluatedProperty } = params as Record<string, unknown>
  const steps = pointerSteps(instancePath)
  for (const step of [missingProperty, additionalProperty, unevaluatedProperty])
    if (typeof step === 'string') steps.push(step)
  let path = ''
  for (const step of steps) {
    if (/^\d+$/.test(step)) path += `[${step}]`
    else path += path === '' ? step : `.${step}`
  }
  const message = `does not fit the action's schema: ${keyword}`
  return { path, code: codes[keyword] ?? 'malformed_value', message }
}

/** The steps of an RFC 6901 pointer. */
const pointerSteps = (pointer: string) =>
  pointer
    .split('/')
    .slice(1)
    .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'))
