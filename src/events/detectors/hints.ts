/**
 * The quick look: which kinds a text may hold. Nearly every text holds none, and this is all that is done for it.
 * It may say yes too often, and never no where a finder would find something (a property test holds that).
 *
 * Plain expressions, run by the engine's own code: a state machine that did all of it in one pass took twice as
 * long. None of them can backtrack by more than a few characters.
 */

export const hint = { email: 1, phone: 2, card: 4, iban: 8, ip: 16 } as const

/** What none of the kinds can do without. */
const anything = /\d[\d.]|[@+＋]|%[24]|::|f[c-f][0-9a-f]{2}:/i
// Each of the dearer expressions has a cheap one before it, which the engine can skip through.
const eightDigits = /\d{4}[ \u00a0-]?\d{4}/
const card = /\d(?:[ \u00a0-]?\d){12}/
const countryAndCheck = /[A-Za-z]{2}\d\d/
// In JSON, the letter of an escape (`\n`) is no letter of the word behind it.
const iban = /(?:^|[^0-9A-Za-z]|\\[bfnrt]|\\u[0-9a-f]{4})[A-Za-z]{2}\d\d/
const ip4 = /\d\.\d{1,3}\.\d{1,3}\.\d/
const hexAndColon = /[0-9A-Fa-f]:[0-9A-Fa-f:]|::/
const ip6 = /(?:[23][0-9a-f]{3}|f[c-f][0-9a-f]{2}|::ffff|64):[0-9a-f:]/i
const plus = /(?:[+＋]|%2B)[ .()\-/\u00a0\u2009\u2010\u2011\u2013]{0,3}\d/i

/**
 * @param text the text itself, or JSON that holds it
 * @returns bits of `hint`; 0 = nothing to look for
 */
export function hintsOf(text: string): number {
  if (!anything.test(text)) return 0
  let hints = 0
  if (text.includes('@') || text.includes('%40')) hints |= hint.email
  if ((text.includes('+') || text.includes('%2') || text.includes('＋')) && plus.test(text))
    hints |= hint.phone
  if (eightDigits.test(text) && card.test(text)) hints |= hint.card
  if (countryAndCheck.test(text) && iban.test(text)) hints |= hint.iban
  if (ip4.test(text) || (hexAndColon.test(text) && ip6.test(text))) hints |= hint.ip
  return hints
}
