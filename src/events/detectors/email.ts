/**
 * E-mail addresses: `jane@acme.example`, also percent-encoded (`jane%40acme.example`), in any script.
 *
 * From each `@` outwards, not by one regular expression: a local part has 64 characters at most and a domain 255,
 * so a text of `@`s and letters costs no more than its length. Not taken for an address: the user part of a URL
 * (`postgres://app:secret@db.example`), SSH remotes (`git@host:path`), versions (`pkg@1.2.3`), and names of files
 * and units (`logo@2x.png`, `getty@tty1.service`).
 */
import { isAlphanumericAt, type Finding } from './finding.js'

const maxLocal = 64
const maxDomain = 255
const anyWordCharacter = /[\p{L}\p{N}\p{M}]/u
const isWordAt = (text: string, index: number) =>
  isAlphanumericAt(text, index) || (text.charCodeAt(index) > 127 && anyWordCharacter.test(text.charAt(index)))
const isLocalAt = (text: string, index: number) =>
  isWordAt(text, index) || "._%+'~-".includes(text.charAt(index) || ' ')
const isDomainAt = (text: string, index: number) =>
  isWordAt(text, index) || '.-'.includes(text.charAt(index) || ' ')
const topLevel = /^(?:xn--[a-z0-9-]{2,59}|[\p{L}\p{M}]{2,24})$/iu
const notTopLevel = new Set(
  'png jpg jpeg gif svg webp ico css js mjs html htm json xml yaml yml service socket timer slice mount'.split(
    ' ',
  ),
)
const escape = /%(?!2[BDE]|5F)[0-9A-F]{2}/gi

export function findEmails(text: string): Finding[] {
  const findings: Finding[] = []
  const ats = /@|%40/g
  for (let found = ats.exec(text); found !== null; found = ats.exec(text)) {
    const at = { start: found.index, end: ats.lastIndex }
    const start = localStart(text, at.start, findings.at(-1)?.end ?? 0)
    const end = start < at.start ? domainEnd(text, at.end) : at.end
    if (end === at.end || isUserInfo(text, start) || isSshRemote(text, start, at.start, end)) continue
    findings.push({ kind: 'email', start, end })
    ats.lastIndex = end
  }
  return findings
}

/** Where the local part begins that ends at `end`; `end` where there is none. */
function localStart(text: string, end: number, floor: number): number {
  let start = end
  while (start > floor && end - start < maxLocal && isLocalAt(text, start - 1)) start -= 1
  // In a query string that is itself encoded, the address begins after the last escaped delimiter.
  const local = text.slice(start, end)
  if (local.includes('%'))
    for (const { 0: escaped, index } of local.matchAll(escape))
      start = end - local.length + index + escaped.length
  while (start < end && /[.'~-]/.test(text.charAt(start))) start += 1
  return /[.']/.test(text.charAt(end - 1)) ? end : start
}

/** Where the domain ends that begins at `start`; `start` where there is none. */
function domainEnd(text: string, start: number): number {
  let end = start
  while (end < text.length && end - start < maxDomain && isDomainAt(text, end)) end += 1
  while (end > start && /[.-]/.test(text.charAt(end - 1))) end -= 1
  const labels = text.slice(start, end).split('.')
  const top = labels.at(-1) ?? ''
  const good =
    labels.length > 1 &&
    labels.every(
      (label) => label !== '' && label.length < 64 && !label.startsWith('-') && !label.endsWith('-'),
    )
  return good && topLevel.test(top) && !notTopLevel.has(top.toLowerCase()) ? end : start
}

/** `scheme://user:password@host`: nothing between `://` and the place ends the authority. */
function isUserInfo(text: string, start: number): boolean {
  const before = text.slice(Math.max(0, start - maxDomain), start)
  const scheme = before.lastIndexOf('://')
  return scheme !== -1 && !/[\s/?#"'<>@,;]/.test(before.slice(scheme + 3))
}

const isSshRemote = (text: string, start: number, at: number, end: number) =>
  text.slice(start, at) === 'git' && /^[:/]/.test(text.slice(end, end + 1))
