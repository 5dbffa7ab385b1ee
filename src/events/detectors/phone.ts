/**
 * Phone numbers in international form (`+49 30 901820`), judged by libphonenumber's rules for each country.
 * National forms are not looked for: without a country, any seven digits are one.
 */
import { parsePhoneNumberFromString } from 'libphonenumber-js/max'
import { isAlphanumericAt, isDigitAt, type Finding } from './finding.js'

/** Judges the digits behind a plus. */
export type PhoneJudge = (digits: string) => boolean

/** Numbers of one event that libphonenumber looks at; it takes some 20 µs for each. Beyond, the form is enough. */
const maxJudged = 200

/** A judge for the texts of one event. */
export function createPhoneJudge(): PhoneJudge {
  let left = maxJudged
  return (digits) => {
    left -= 1
    return left < 0 || (parsePhoneNumberFromString(`+${digits}`)?.isValid() ?? false)
  }
}

const minDigits = 7
const maxDigits = 15
const maxCharacters = 32
const separator = /[ .()\-/\u00a0\u2009\u2010\u2011\u2013]/

export function findPhones(text: string, judge: PhoneJudge = createPhoneJudge()): Finding[] {
  const findings: Finding[] = []
  const plus = /[+＋]|%2B/gi
  for (let found = plus.exec(text); found !== null; found = plus.exec(text)) {
    const start = found.index
    // Inside base64, arithmetic or an address (`jane+1…@`) a plus follows a letter, a digit or its like.
    if (isAlphanumericAt(text, start - 1) || '+/_'.includes(text.charAt(start - 1) || ' ')) continue
    const digitsFrom = start + found[0].length
    const end = numberEnd(text, digitsFrom, judge)
    if (end === undefined) continue
    findings.push({ kind: 'phone', start, end })
    plus.lastIndex = end
  }
  return findings
}

/** Where the number ends whose first digit stands at or just behind `from`; undefined where there is none. */
function numberEnd(text: string, from: number, judge: PhoneJudge): number | undefined {
  const ends: number[] = []
  let digits = ''
  let separators = 0
  for (let index = from; index < text.length && index - from < maxCharacters; index += 1) {
    if (isDigitAt(text, index)) {
      digits += text.charAt(index)
      separators = 0
      // Only a whole group of digits can end a number.
      if (digits.length >= minDigits && digits.length <= maxDigits && !isDigitAt(text, index + 1))
        ends.push(index + 1)
    } else if (separator.test(text.charAt(index)) && separators < 3) {
      separators += 1
    } else {
      break
    }
  }
  // The longest reading that is a number: what follows it may be another number, a date, a count.
  for (const end of ends.reverse()) {
    if (isAlphanumericAt(text, end) || text.charAt(end) === '_') continue
    if (judge(text.slice(from, end).replaceAll(/[^0-9]/g, ''))) return end
  }
  return undefined
}
