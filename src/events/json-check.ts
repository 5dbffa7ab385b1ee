/**
 * What no JSON value of a request may hold, checked in one walk before any schema: keys that reach prototypes,
 * text that is no Unicode or holds NUL, numbers that JavaScript cannot keep, and shapes without bound.
 *
 * It comes before Zod because a schema's record type drops `__proto__` without a word.
 */
import type { FieldError, FieldErrorCode } from '../errors.js'
import { limits } from './limits.js'

/** More than these are not reported: the first few say what is wrong. */
export const maxReportedErrors = 20

const forbiddenKeys: ReadonlySet<string> = new Set(['__proto__', 'constructor'])

export interface JsonCheck {
  readonly errors: FieldError[]
  /** About how many bytes of JSON the value takes: characters of keys and strings, and a little for the rest. */
  readonly size: number
}

interface Walk {
  readonly errors: FieldError[]
  values: number
  size: number
}

/** Checks a value that came out of `JSON.parse`; it nests at most `limits.maxDepth` deep, itself counted. */
export function checkJson(value: unknown): JsonCheck {
  const walk: Walk = { errors: [], values: 0, size: 0 }
  visit(value, '', 0, walk)
  return { errors: walk.errors, size: walk.size }
}

function report(walk: Walk, path: string, code: FieldErrorCode, message: string): void {
  if (walk.errors.length < maxReportedErrors) walk.errors.push({ path, code, message })
}

function visit(value: unknown, path: string, depth: number, walk: Walk): void {
  walk.size += 4
  walk.values += 1
  if (walk.values > limits.maxValues) {
    // Said once, at the first value too many; the rest is not looked at.
    if (walk.values === limits.maxValues + 1)
      report(walk, path, 'too_many', `at most ${String(limits.maxValues)} values`)
    return
  }
  if (typeof value === 'string') {
    walk.size += value.length
    checkText(value, path, walk)
    if (value.length > limits.maxStringLength) {
      report(walk, path, 'too_long', `at most ${String(limits.maxStringLength)} characters`)
    }
  } else if (typeof value === 'number') {
    checkNumber(value, path, walk)
  } else if (typeof value === 'object' && value !== null) {
    if (depth >= limits.maxDepth) {
      report(walk, path, 'too_deep', `nested at most ${String(limits.maxDepth)} deep`)
      return
    }
    if (Array.isArray(value)) visitArray(value, path, depth, walk)
    else visitObject(value as Record<string, unknown>, path, depth, walk)
  }
}

function visitArray(value: readonly unknown[], path: string, depth: number, walk: Walk): void {
  for (let index = 0; index < value.length; index += 1)
    visit(value[index], `${path}[${String(index)}]`, depth + 1, walk)
}

function visitObject(value: Record<string, unknown>, path: string, depth: number, walk: Walk): void {
  for (const key of Object.keys(value)) {
    walk.size += key.length + 4
    const member = path === '' ? key : `${path}.${key}`
    if (forbiddenKeys.has(key)) {
      report(walk, member, 'forbidden_key', 'this key is not allowed anywhere')
      continue
    }
    if (key.length > limits.maxKeyLength) {
      report(walk, path, 'too_long', `a key has at most ${String(limits.maxKeyLength)} characters`)
      continue
    }
    checkText(key, member, walk)
    visit(value[key], member, depth + 1, walk)
  }
}

function checkText(text: string, path: string, walk: Walk): void {
  if (!text.isWellFormed()) report(walk, path, 'lone_surrogate', 'holds half of a surrogate pair')
  if (text.includes('\0')) report(walk, path, 'nul_character', 'holds a NUL character')
}

function checkNumber(value: number, path: string, walk: Walk): void {
  if (!Number.isFinite(value) || (Number.isInteger(value) && !Number.isSafeInteger(value))) {
    report(walk, path, 'unsafe_number', 'whole numbers lie within ±(2^53 - 1); send larger ones as strings')
  }
}
