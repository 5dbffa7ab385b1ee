/** IBANs (ISO 13616): the country's length, check digits by ISO 7064 mod 97-10; whole or in groups of four. */
import { isAlphanumericAt, type Finding } from './finding.js'

/** Characters of an IBAN by country, from the ISO 13616 registry. */
const lengths = new Map(
  (
    'AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 ' +
    'EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 ' +
    'KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 ' +
    'PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 ' +
    'UA29 VA22 VG24 XK20 YE30'
  )
    .split(' ')
    .map((entry) => [entry.slice(0, 2), Number(entry.slice(2))] as const),
)

const beginning = /(?<![0-9A-Za-z])[A-Za-z]{2}\d{2}(?=[ \u00a0-]?[0-9A-Za-z])/g

export function findIbans(text: string): Finding[] {
  const findings: Finding[] = []
  for (const { 0: head, index } of text.matchAll(beginning)) {
    const length = lengths.get(head.slice(0, 2).toUpperCase())
    const end = length === undefined ? undefined : ibanEnd(text, index, length)
    if (end !== undefined && index >= (findings.at(-1)?.end ?? 0))
      findings.push({ kind: 'iban', start: index, end })
  }
  return findings
}

function ibanEnd(text: string, start: number, length: number): number | undefined {
  let iban = ''
  let index = start
  let separator = ''
  while (iban.length < length) {
    const character = text.charAt(index)
    if (isAlphanumericAt(text, index)) {
      // Grouped means grouped throughout: a separator before every fifth character.
      if (
        separator !== '' &&
        iban.length > 4 &&
        iban.length % 4 === 0 &&
        text.charAt(index - 1) !== separator
      )
        return undefined
      iban += character
    } else if (' \u00a0-'.includes(character) && iban.length % 4 === 0) {
      if (separator === '' && iban.length > 4) return undefined
      if (separator !== '' && character !== separator) return undefined
      if (!isAlphanumericAt(text, index - 1)) return undefined
      separator = character
    } else {
      return undefined
    }
    index += 1
  }
  const oneCase = iban === iban.toUpperCase() || iban === iban.toLowerCase()
  return oneCase && !isAlphanumericAt(text, index) && hasRightCheckDigits(iban.toUpperCase())
    ? index
    : undefined
}

/** ISO 7064 mod 97-10: the first four characters behind the rest, letters as 10 to 35, leaves 1. */
function hasRightCheckDigits(iban: string): boolean {
  let remainder = 0
  for (const character of iban.slice(4) + iban.slice(0, 4)) {
    const value = Number.parseInt(character, 36)
    remainder = (remainder * (value > 9 ? 100 : 10) + value) % 97
  }
  return remainder === 1
}
