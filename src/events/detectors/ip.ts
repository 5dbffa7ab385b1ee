/**
 * IP addresses, v4 and v6 (with a zone; a port or prefix length behind it is not part of the finding).
 *
 * Left out are addresses that are nobody's (unspecified, loopback, netmasks) and what only looks like one:
 * four-part versions (`Chrome/120.0.0.0`, `version 1.2.3.4`), and hexadecimal words around `::`.
 */
import { isIPv6 } from 'node:net'
import { isAlphanumericAt, type Finding } from './finding.js'

const octet = '(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)'
const version4 = new RegExp(
  `(?<![0-9A-Za-z_]|[0-9A-Za-z]\\.)${octet}(?:\\.${octet}){3}(?![0-9A-Za-z_]|\\.\\d|-(?!\\d{1,3}\\.))`,
  'g',
)
const versionWord =
  /(?:^|[^a-z])(?:version|versions|ver|v|release|build|firmware|revision|rev)["']?\.?\s*[:=]?\s*["']?$/i
/** `Product/` at the start of a user agent or behind a space. */
const product = /(?:^|[\s("';,])[A-Za-z][\w.-]*\/$/
const lookBehind = 40

export function findIps(text: string): Finding[] {
  return [...findVersion6(text), ...findVersion4(text)]
}

function findVersion4(text: string): Finding[] {
  const findings: Finding[] = []
  for (const { 0: address, index } of text.matchAll(version4)) {
    if (/^(?:0|127|255)\./.test(address)) continue
    const before = text.slice(Math.max(0, index - lookBehind), index)
    if (versionWord.test(before) || product.test(before)) continue
    findings.push({ kind: 'ip', start: index, end: index + address.length })
  }
  return findings
}

/** The longest address: eight groups, or six and a version 4 one. */
const maxCharacters = 45
const isPart = (text: string, index: number) => {
  const character = text.charAt(index)
  return character !== '' && '0123456789abcdefABCDEF:.'.includes(character)
}

function findVersion6(text: string): Finding[] {
  const findings: Finding[] = []
  let from = 0
  for (let colon = text.indexOf(':'); colon !== -1; colon = text.indexOf(':', from)) {
    let start = colon
    while (start > from && colon - start < 5 && isPart(text, start - 1)) start -= 1
    let end = colon
    while (end - start <= maxCharacters && isPart(text, end)) end += 1
    from = end
    // The colon of a label (`ip:fe80::1`) is not the address's.
    if (text.charAt(start) === ':' && text.charAt(start + 1) !== ':') start += 1
    else if (isAlphanumericAt(text, start - 1) || text.charAt(start - 1) === '_') continue
    if (isAlphanumericAt(text, end) || text.charAt(end) === '_') continue
    while (end > start && text.charAt(end - 1) === '.') end -= 1
    if (!text.startsWith('::', end - 2) && text.charAt(end - 1) === ':') end -= 1
    if (!isUsedAddress(text.slice(start, end))) continue
    const zone = /^%[0-9A-Za-z._-]{1,16}/.exec(text.slice(end, end + 17))?.[0].length ?? 0
    findings.push({ kind: 'ip', start, end: end + zone })
    from = end + zone
  }
  return findings
}

/** Global unicast 2000::/3, unique local fc00::/7, link-local fe80::/10, multicast ff00::/8, mapped and NAT64. */
const usedRange = /^(?:[23][0-9a-f]{3}:|f[cdf][0-9a-f]{2}:|fe[89ab][0-9a-f]:|::ffff:|64:ff9b:)/i

const isUsedAddress = (address: string) => usedRange.test(address) && /\d/.test(address) && isIPv6(address)
