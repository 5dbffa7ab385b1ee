/**
 * Free text: does an event hold all the words that a reader types?
 *
 * A *word* is a run of characters without white space. It is looked for, without case, in each text of the event
 * that every reader sees: the action, the description, metadata keys and values at any depth, the values of
 * things' blocks and of the context. Persons' blocks are encrypted and not looked into. A word that begins with a
 * letter or digit is found at the start of a word of the text only: after anything but a letter or digit, or where
 * small letters or digits turn into capitals (`bucket` is in `list_buckets` and `ListBuckets`, not in `thebuckets`).
 *
 * There is no index of words: a sample event has 58 different ones, which would be four times the index entries it
 * has now. So events are scanned, within a budget (scan.ts). The database sorts out most by a pattern over the
 * stored JSON (`textConditions`), which may let through too much and never too little; `matchesWords` decides.
 */
import type { Filter } from 'mongodb'
import type { JsonValue } from './contract.js'
import type { StoredEvent } from './store.js'

/** Words of a query; more are refused. */
export const maxWords = 8

/** The different words of a query. */
export function wordsOf(query: string): string[] {
  return [...new Set(query.split(/\s+/).filter((word) => word !== ''))]
}

/** For the database: conditions that every event with all the words fulfils. */
export function textConditions(words: readonly string[]): Filter<StoredEvent>[] {
  return words.flatMap((word) => {
    const pattern = storedPattern(word)
    if (pattern === '') return []
    const expression = { $regex: pattern, $options: 'is' }
    return [{ $or: [{ 'fields.value': expression }, { action: expression }] }]
  })
}

/** Says of an event whether it holds every one of the words. */
export function matchesWords(words: readonly string[]): (event: StoredEvent) => boolean {
  const finders = words.map((word) => finderOf(word))
  return (event) => {
    const texts = textsOf(event)
    return finders.every((finder) => texts.some(finder))
  }
}

/** The texts of an event that every reader sees, but for types and times. */
function textsOf(event: StoredEvent): string[] {
  const texts = [event.action]
  for (const field of event.fields) {
    if (!('value' in field)) continue
    const value = JSON.parse(field.value) as JsonValue
    if (field.slot === 'description') addTexts(texts, value)
    else if (field.slot.startsWith('metadata/')) addTexts(texts, value)
    else if (typeof value === 'object' && value !== null) {
      // A block or the context: the names of its members are Annals' own, what hangs below them is the client's.
      for (const member of Object.values(value)) addTexts(texts, member)
    }
  }
  return texts
}

function addTexts(texts: string[], value: JsonValue): void {
  if (value === null) return
  if (typeof value !== 'object') texts.push(String(value))
  else if (Array.isArray(value)) for (const item of value) addTexts(texts, item)
  else {
    for (const [key, member] of Object.entries(value)) {
      texts.push(key)
      addTexts(texts, member)
    }
  }
}

const letterOrDigit = /[\p{L}\p{N}]/u
const smallOrDigit = /[\p{Ll}\p{N}]/u
const capital = /\p{Lu}/u

function finderOf(word: string): (text: string) => boolean {
  // `iu` folds a character to one other at most, as the database's pattern allows for.
  const expression = new RegExp(escaped(word), 'giu')
  const anywhere = !letterOrDigit.test(firstOf(word))
  return (text) => {
    expression.lastIndex = 0
    for (let match = expression.exec(text); match !== null; match = expression.exec(text)) {
      if (anywhere || startsWord(text, match.index)) return true
      // The next may overlap this one.
      expression.lastIndex = match.index + 1
    }
    return false
  }
}

function startsWord(text: string, index: number): boolean {
  if (index === 0) return true
  const before = lastOf(text.slice(Math.max(0, index - 2), index))
  if (!letterOrDigit.test(before)) return true
  return smallOrDigit.test(before) && capital.test(firstOf(text.slice(index, index + 2)))
}

const firstOf = (text: string) => codePoints(text)[0] ?? ''
const lastOf = (text: string) => codePoints(text).at(-1) ?? ''
/** Patterns, here and in the database, go by code points. */
const codePoints = (text: string) => Array.from(text)
const escaped = (text: string) => text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&')

/**
 * A pattern for the longest part of a word that JSON text holds unchanged; '' where there is none. A client's
 * characters stand in it as themselves, escaped, never as a pattern.
 */
function storedPattern(word: string): string {
  let longest: string[] = []
  for (const run of word.split(/["\\\p{Cc}]/u)) {
    const characters = codePoints(run)
    if (characters.length > longest.length) longest = characters
  }
  return longest.map(characterPattern).join('')
}

/** What may stand in the place of a character when case does not count, or more. */
function characterPattern(character: string): string {
  // The two letters of ASCII that have a third form: the Kelvin sign, the long s.
  if (/^k$/i.test(character)) return '[kK\\x{212A}]'
  if (/^s$/i.test(character)) return '[sS\\x{17F}]'
  if (/^[A-Za-z0-9]$/.test(character)) return character
  if (character < '\u0080') return `\\${character}`
  // Two programs need not agree on the case of every letter there is: one that has cases stands for any character.
  return character.toLowerCase() === character && character.toUpperCase() === character ? character : '.'
}
