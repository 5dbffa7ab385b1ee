/**
 * Card numbers (ISO/IEC 7812): 13 to 19 digits, whole or grouped as cards print them, of a known issuer's range
 * and length, and right by Luhn. Of random digits, one in some thirty of the right length and range passes.
 */
import type { Finding } from './finding.js'

interface Issuer {
  readonly prefix: RegExp
  readonly lengths: readonly number[]
}

const issuers: readonly Issuer[] = [
  { prefix: /^4/, lengths: [13, 16, 19] }, // Visa
  { prefix: /^(?:5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720)/, lengths: [16] }, // Mastercard
  { prefix: /^3[47]/, lengths: [15] }, // American Express
  { prefix: /^(?:6011|64[4-9]|65)/, lengths: [16, 19] }, // Discover
  { prefix: /^35(?:2[89]|[3-8])/, lengths: [16, 19] }, // JCB
  { prefix: /^(?:30[0-5]|3095|36|3[89])/, lengths: [14, 16, 19] }, // Diners Club
  { prefix: /^(?:62|81)/, lengths: [16, 17, 18, 19] }, // UnionPay
  { prefix: /^(?:5018|5020|5038|5893|6304|6759|676[1-3])/, lengths: [13, 14, 15, 16, 17, 18, 19] }, // Maestro
  { prefix: /^220[0-4]/, lengths: [16, 17, 18, 19] }, // Mir
  { prefix: /^(?:508[5-9]|60(?!11)|82)/, lengths: [16] }, // RuPay
  { prefix: /^9792/, lengths: [16] }, // Troy
]

/** How cards group their digits, where they do. */
const groupings = new Set(['4-4-4-4', '4-4-4-4-3', '4-6-5', '4-6-4', '4-4-4-1'])

// Not inside a word, a decimal number or a longer chain of groups, such as a UUID.
const candidate =
  /(?<![0-9A-Za-z_]|[0-9A-Za-z][-.])\d(?:[ \u00a0-]?\d){12,22}(?![0-9A-Za-z_]|[-.][0-9A-Za-z])/g

export function findCards(text: string): Finding[] {
  const findings: Finding[] = []
  for (const { 0: digits, index } of text.matchAll(candidate)) {
    const length = cardLength(digits)
    if (length !== undefined) findings.push({ kind: 'card', start: index, end: index + length })
  }
  return findings
}

/** Length of the card number that a run of digits and separators begins with. */
function cardLength(run: string): number | undefined {
  if (!/[ \u00a0-]/.test(run)) return isCardNumber(run) ? run.length : undefined
  const dash = run.includes('-')
  const groups = run.split(dash ? '-' : /[ \u00a0]/)
  for (let count = Math.min(groups.length, 5); count > 2; count -= 1) {
    // Behind dashes there must be nothing more; behind spaces another number may follow.
    if (dash && count < groups.length) return undefined
    const taken = groups.slice(0, count)
    const shape = taken.map((group) => group.length).join('-')
    if (groupings.has(shape) && isCardNumber(taken.join(''))) return taken.join(' ').length
  }
  return undefined
}

function isCardNumber(digits: string): boolean {
  return (
    issuers.some(({ prefix, lengths }) => lengths.includes(digits.length) && prefix.test(digits)) &&
    passesLuhn(digits)
  )
}

/** ISO/IEC 7812-1, annex B: double every second digit from the right; the sum of all digits ends in 0. */
export function passesLuhn(digits: string): boolean {
  let sum = 0
  for (let index = 0; index < digits.length; index += 1) {
    const digit = digits.charCodeAt(digits.length - 1 - index) - 48
    const doubled = index % 2 === 0 ? digit : digit * 2
    sum += doubled > 9 ? doubled - 9 : doubled
  }
  return sum % 10 === 0
}
