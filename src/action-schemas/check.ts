/**
 * Is this a schema that Annals will run? Everything about it is bounded before a line of it is compiled: size,
 * depth, subschemas (references expanded, so that no tower of `$ref`s grows out of a few lines), patterns (RE2
 * only). It refers to nothing but its own `$defs`, and to no part of itself from within.
 */
import type { FieldError, FieldErrorCode } from '../errors.js'
import type { JsonObject, JsonValue } from '../events/contract.js'
import { compileSafePattern } from '../events/detectors/safe-pattern.js'
import { actionSchemaLimits as limits, personalKeyword } from './contract.js'

const dialect = 'https://json-schema.org/draft/2020-12/schema'

const single = new Set([
  'additionalProperties',
  'items',
  'contains',
  'not',
  'if',
  'then',
  'else',
  'propertyNames',
  'unevaluatedItems',
  'unevaluatedProperties',
])
const lists = new Set(['allOf', 'anyOf', 'oneOf', 'prefixItems'])
const maps = new Set(['properties', 'patternProperties', 'dependentSchemas', '$defs'])
/** Keywords without subschemas. `format` is an annotation, as the dialect has it. */
const plain = new Set(
  (
    'type enum const multipleOf maximum exclusiveMaximum minimum exclusiveMinimum maxLength minLength pattern ' +
    'maxItems minItems uniqueItems maxContains minContains maxProperties minProperties required ' +
    'dependentRequired format title description default examples deprecated readOnly writeOnly $comment'
  ).split(' '),
)

export interface CheckedSchema {
  readonly errors: readonly FieldError[]
  /** Metadata keys that are marked personal. */
  readonly personal: readonly string[]
}

/** @param schema a JSON object that passed `checkJson` */
export function checkSchema(schema: JsonObject): CheckedSchema {
  const check = new Check(schema)
  check.visit(schema, [], [])
  return { errors: check.errors, personal: check.personal }
}

const maxErrors = 20

class Check {
  readonly errors: FieldError[] = []
  readonly personal: string[] = []
  #subschemas = 0
  #patterns = 0

  constructor(private readonly root: JsonObject) {}

  /** @param references names of the `$defs` that this subschema was reached through */
  visit(node: JsonValue, path: readonly string[], references: readonly string[]): void {
    if (this.errors.length >= maxErrors || typeof node === 'boolean') return
    this.#subschemas += 1
    if (this.#subschemas > limits.maxSubschemas) {
      if (this.#subschemas === limits.maxSubschemas + 1)
        this.#report(
          [],
          'too_many',
          `at most ${String(limits.maxSubschemas)} subschemas, references expanded`,
        )
      return
    }
    if (path.length > limits.maxDepth * 2) {
      this.#report(path, 'too_deep', `subschemas lie at most ${String(limits.maxDepth)} inside each other`)
      return
    }
    if (!isObject(node)) {
      this.#report(path, 'wrong_type', 'must be a schema: an object, true or false')
      return
    }
    for (const [keyword, value] of Object.entries(node)) this.#keyword(node, keyword, value, path, references)
  }

  #keyword(
    node: JsonObject,
    keyword: string,
    value: JsonValue,
    path: readonly string[],
    references: readonly string[],
  ): void {
    const at = [...path, keyword]
    if (keyword === '$schema') {
      if (path.length > 0 || value !== dialect)
        this.#report(at, 'not_allowed', `must be ${dialect}, at the top`)
    } else if (keyword === '$ref') {
      this.#reference(value, at, references)
    } else if (keyword === personalKeyword) {
      this.#mark(value, at)
    } else if (keyword === '$defs' && path.length > 0) {
      this.#report(at, 'not_allowed', 'stands at the top only')
    } else if (single.has(keyword)) {
      this.visit(value, at, references)
    } else if (lists.has(keyword)) {
      if (!Array.isArray(value)) this.#report(at, 'wrong_type', 'must be a list of schemas')
      else value.forEach((item, index) => this.visit(item, [...at, String(index)], references))
    } else if (maps.has(keyword)) {
      this.#map(keyword, value, at, references)
    } else if (keyword === 'pattern') {
      if (typeof value === 'string') this.#pattern(value, at)
    } else if (keyword === 'uniqueItems') {
      const { maxItems } = node
      if (value === true && (typeof maxItems !== 'number' || maxItems > limits.maxUniqueItems))
        this.#report(
          at,
          'not_allowed',
          `needs maxItems of at most ${String(limits.maxUniqueItems)} beside it`,
        )
    } else if (!plain.has(keyword)) {
      this.#report(at, 'unknown_field', 'is no keyword that is taken here')
    }
  }

  #map(keyword: string, value: JsonValue, at: readonly string[], references: readonly string[]): void {
    if (!isObject(value)) {
      this.#report(at, 'wrong_type', 'must be an object of schemas')
      return
    }
    for (const [name, subschema] of Object.entries(value)) {
      if (keyword === 'patternProperties') this.#pattern(name, at)
      this.visit(subschema, [...at, name], references)
    }
  }

  #reference(value: JsonValue, at: readonly string[], references: readonly string[]): void {
    const name = typeof value === 'string' ? /^#\/\$defs\/([\w.-]{1,128})$/.exec(value)?.[1] : undefined
    const definitions = this.root['$defs']
    if (name === undefined || !isObject(definitions) || !Object.hasOwn(definitions, name)) {
      this.#report(at, 'not_allowed', 'refers to #/$defs/<name> of this schema only')
    } else if (references.includes(name)) {
      this.#report(at, 'not_allowed', 'refers to what it is part of')
    } else {
      this.visit(definitions[name] ?? null, at, [...references, name])
    }
  }

  #pattern(pattern: string, at: readonly string[]): void {
    this.#patterns += 1
    if (this.#patterns > limits.maxPatterns)
      this.#report(at, 'too_many', `at most ${String(limits.maxPatterns)} patterns`)
    else if (compileSafePattern(pattern) === undefined)
      this.#report(
        at,
        'malformed_value',
        'is no RE2 expression (no look-around, no back-references), or too large',
      )
  }

  /** The mark works at one place only; elsewhere it would promise what nobody keeps. */
  #mark(value: JsonValue, at: readonly string[]): void {
    const [properties, metadata, inner, key, keyword] = at
    const right =
      at.length === 5 &&
      properties === 'properties' &&
      metadata === 'metadata' &&
      inner === 'properties' &&
      keyword === personalKeyword
    if (!right) this.#report(at, 'not_allowed', 'marks top-level metadata properties only')
    else if (typeof value !== 'boolean') this.#report(at, 'wrong_type', 'must be true or false')
    else if (value && key !== undefined) this.personal.push(key)
  }

  #report(path: readonly string[], code: FieldErrorCode, message: string): void {
    if (this.errors.length < maxErrors)
      this.errors.push({ path: ['schema', ...path].join('.'), code, message })
  }
}

const isObject = (value: JsonValue | undefined): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
