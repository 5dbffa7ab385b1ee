/**
 * The certificate of an erasure as a page to hand over and to print: for a privacy officer, and for the person who asked.
 * It shows what the signed file says and nothing else; without a script and without anything from elsewhere.
 */
import { hash } from 'node:crypto'
import type { ErasureGround, ExemptionGround, RetirementOutcome } from './contract.js'
import type { ErasureCertificate } from './certificate.js'
import type { ResidualKind } from './residuals.js'

export interface CertificatePage {
  readonly html: string
  /** For the header `Content-Security-Policy`. */
  readonly policy: string
}

const style = `
:root { color-scheme: light; --ink: #1b1f24; --soft: #57606a; --line: #d0d7de; --wash: #f6f8fa }
* { box-sizing: border-box }
body { font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: #fff; max-width: 52rem; margin: 2.5rem auto; padding: 0 1.25rem }
header { border-bottom: 3px solid var(--ink); padding-bottom: 1rem }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .35rem }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .5rem; break-after: avoid }
p { margin: .4rem 0 .7rem } .soft { color: var(--soft) }
dl { display: grid; grid-template-columns: minmax(11rem, max-content) 1fr; gap: .25rem 1.25rem; margin: .6rem 0 }
dt { color: var(--soft) } dd { margin: 0; overflow-wrap: anywhere }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 .8rem; font-size: .9375rem }
th, td { text-align: left; vertical-align: top; padding: .35rem .75rem .35rem 0; border-bottom: 1px solid var(--line) }
td.count, th.count { text-align: right; font-variant-numeric: tabular-nums; padding-right: 0; white-space: nowrap }
tr { break-inside: avoid }
code { font: .8125rem/1.4 ui-monospace, monospace; overflow-wrap: anywhere }
aside { background: var(--wash); border: 1px solid var(--line); border-radius: .4rem; padding: .75rem 1rem; margin: 1rem 0; break-inside: avoid }
footer { margin-top: 2.5rem; border-top: 1px solid var(--line); padding-top: .75rem; font-size: .8125rem; color: var(--soft) }
@media (max-width: 34rem) { dl { grid-template-columns: 1fr; gap: 0 } dd { margin-bottom: .5rem } }
@media print { body { margin: 0; max-width: none; font-size: 10.5pt } aside { background: none } @page { margin: 18mm } }`

const policy = [
  "default-src 'none'",
  `style-src 'sha256-${hash('sha256', style, 'base64')}'`,
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

/** @param sha256 of the file that was issued @param kids the `kid` of each of its signatures */
export function certificatePage(
  certificate: ErasureCertificate,
  { sha256, kids }: { readonly sha256: string; readonly kids: readonly string[] },
): CertificatePage {
  const { request, principals, times, outcome } = certificate
  const exceptions = outcome === 'completed_with_exceptions'
  const body = [
    `<header><h1>Certificate of erasure</h1>
<p class="soft">${escape(certificate.id)}, version ${String(certificate.version)}, issued ${moment(certificate.issuedAt)}</p></header>
<main>
<p>On a request under Art. 17 of the General Data Protection Regulation, what this audit log held about
${certificate.persons === 1 ? 'one person' : `${number(certificate.persons)} persons`} was removed${
      exceptions ? ', except for what is listed below as kept' : ''
    }. This page names nobody: who was meant stands in the correspondence of whoever hands it over.</p>`,
    section(
      'The request',
      list([
        ['Organization', escape(certificate.organizationId)],
        ['Received', moment(request.receivedAt)],
        ['Due', `${moment(request.dueAt)}${request.extended ? ' (extended once, Art. 12(3))' : ''}`],
        ['Ground', `Art. ${escape(request.ground)}: ${escape(grounds[request.ground])}`],
        ['Identifiers given', identifiersText(request.identifiers)],
        ['Submitted by', code(principals.submitter)],
        [
          'Identity verified by',
          principals.identityVerifiedBy === null ? 'not recorded' : code(principals.identityVerifiedBy),
        ],
        ['Approved by', `${code(principals.approver)}, another person than who submitted it`],
        ['No more use of the keys', moment(times.fencedAt)],
        ['Keys destroyed', moment(times.keysDestroyedAt)],
        ['Verified', moment(times.verifiedAt)],
      ]),
    ),
    section('What was removed', removedHtml(certificate)),
    section('What is kept, and why', keptHtml(certificate)),
    section('What remains for technical reasons, and until when', remainsHtml(certificate)),
    section('Who looked afterwards', readingHtml(certificate)),
    section('Who was told (Art. 19)', recipientsHtml(certificate)),
    section('What is claimed', bullets(certificate.statement.claimed)),
    section('What is not claimed', bullets(certificate.statement.notClaimed)),
    section('How to check this', checkingHtml(certificate, sha256, kids)),
    '</main>',
    `<footer>Issued by ${escape(certificate.issuer)}. What counts is the signed file; this page shows it.</footer>`,
  ]
  const html = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><meta name="robots" content="noindex">
<title>Certificate of erasure ${escape(certificate.id)}</title><style>${style}</style></head><body>
${body.join('\n')}
</body></html>
`
  return { html, policy }
}

function removedHtml({ removed, text }: ErasureCertificate): string {
  const rows = removed
    .filter(({ items, atLeast }) => items > 0 || atLeast)
    .map(({ target, items, atLeast }) => [
      escape(places[target] ?? target),
      `${atLeast ? 'at least ' : ''}${number(items)}`,
    ])
  if (text.removed > 0) rows.push(['Single fields of text that named the person', number(text.removed)])
  const none = '<p>Nothing was left to remove when the places were searched.</p>'
  return rows.length === 0 ? none : table(['Where', 'How many'], rows)
}

function keptHtml({ kept, text, request, releases }: ErasureCertificate): string {
  const rows = kept.map(({ reason, class: kind, ground, events }) => [
    reason === 'hold' || ground === null
      ? 'Under a legal hold'
      : `Records of the class ${code(kind ?? '')}: Art. ${escape(ground)}, ${escape(exemptions[ground])}`,
    `${number(events)} ${events === 1 ? 'event' : 'events'}`,
  ])
  const parts = [
    rows.length === 0
      ? '<p>No record was exempt, and none was under a legal hold.</p>'
      : `${table(['Why', 'How many'], rows)}<p>They are encrypted under a key of this request alone, out of ordinary reading, and are used for nothing else.</p>`,
  ]
  if (releases.length > 0)
    parts.push(
      '<p>What was kept first, and was removed when the hold on it ended:</p>',
      table(
        ['When', 'How many'],
        releases.map(({ at, events }) => [
          moment(at),
          `${number(events)} ${events === 1 ? 'event' : 'events'}`,
        ]),
      ),
    )
  if (text.kept > 0)
    parts.push(
      `<p>${number(text.kept)} ${text.kept === 1 ? 'field of text names' : 'fields of text name'} the person and stayed${
        request.jointFreeText === 'review'
          ? ', because others are named in them too, or their records are kept'
          : ''
      }.</p>`,
    )
  parts.push(
    '<p>That events happened, when, and by which action, stays in the log with a random reference and salted hashes: from neither can a value be computed.</p>',
  )
  return parts.join('')
}

function remainsHtml({ remains }: ErasureCertificate): string {
  const rows = remains.map(({ what, state, until, estimated, member }) => {
    const name = `${residues[what]}${member === null ? '' : `, server ${String(member)}`}`
    const when =
      state === 'gone'
        ? 'nothing any more'
        : state === 'unknown'
          ? unknowns[what]
          : until === null
            ? 'until it is deleted'
            : `${estimated ? 'until about ' : 'until '}${moment(until)}${estimated ? ' (estimated; it is overwritten by new entries)' : ''}`
    return [name, when]
  })
  return table(['What', 'Until'], rows, false)
}

function readingHtml({ verification }: ErasureCertificate): string {
  const rows = verification.places.map(({ kind, name, read }) => [
    `${escape(kinds[kind] ?? kind)} ${code(name)}`,
    number(read),
  ])
  const attested = verification.attested.map(
    ({ target, by, at }) => `${code(target)}: attested by ${code(by)}, ${moment(at)}`,
  )
  const retired = verification.retired.map(
    ({ target, outcome, reason, by, at }) =>
      `${code(target)}: ${escape(retirements[outcome])}, says ${code(by)}, ${moment(at)}. ${escape(reason)}`,
  )
  return [
    verification.searchedFor === 0
      ? `<p>A second reader, with code of its own, went through these places on ${moment(verification.at)}: it counted what is left of the person. No identifier was certain enough to be looked for as text.</p>`
      : `<p>A second reader, with code of its own, went through these places on ${moment(verification.at)} and found none of the ${String(verification.searchedFor)} identifiers that it looked for.</p>`,
    verification.credentials === 'read_only'
      ? '<p>It came into the database as a user that can read everything and change nothing.</p>'
      : '',
    rows.length === 0 ? '' : table(['Place', 'Read'], rows),
    attested.length === 0
      ? ''
      : `<p>What it cannot look at:</p><ul>${attested.map((line) => `<li>${line}</li>`).join('')}</ul>`,
    retired.length === 0
      ? ''
      : `<p>What was gone, and was neither erased nor looked at:</p><ul>${retired.map((line) => `<li>${line}</li>`).join('')}</ul>`,
  ].join('')
}

function recipientsHtml({ recipients }: ErasureCertificate): string {
  const rows = Object.entries(recipients)
    .filter(([, count]) => count > 0)
    .map(([status, count]) => [escape(outcomes[status] ?? status), number(count)])
  return rows.length === 0
    ? '<p>The request named no recipient of the data.</p>'
    : table(['Recipients who', 'How many'], rows)
}

function checkingHtml(certificate: ErasureCertificate, sha256: string, kids: readonly string[]): string {
  const { erasureStarted, erased } = certificate.proofs
  return `<p>Whoever has the file and the keys below checks it without access to anything:</p>
<aside><code>annals verify ${escape(certificate.id)}.json --certificate-key … --log-key …</code></aside>
${list([
  ['SHA-256 of the file', code(sha256)],
  ['Signed by', kids.map(code).join(', ')],
  ['Begun, in the log', `${code(erasureStarted.eventId)} of ${code(erasureStarted.log.origin)}`],
  ['Done, in the log', `${code(erased.eventId)} of ${code(erased.log.origin)}`],
  ['List of what went', `${code(certificate.manifests.subjects)}, ${code(certificate.manifests.text)}`],
  ['Ledger entry', `${String(certificate.ledger.sequence)}, ${code(certificate.ledger.hash)}`],
])}`
}

const grounds: Readonly<Record<ErasureGround, string>> = {
  '17(1)(a)': 'no longer necessary for its purpose',
  '17(1)(b)': 'consent was withdrawn',
  '17(1)(c)': 'the person objected to the processing',
  '17(1)(d)': 'it was processed unlawfully',
  '17(1)(e)': 'a law demands the erasure',
  '17(1)(f)': 'it was collected from a child for an online service',
}
const exemptions: Readonly<Record<ExemptionGround, string>> = {
  '17(3)(a)': 'freedom of expression and information',
  '17(3)(b)': 'a legal obligation, or a task in the public interest',
  '17(3)(c)': 'public health',
  '17(3)(d)': 'archiving, research or statistics',
  '17(3)(e)': 'legal claims',
}
const places: Readonly<Record<string, string>> = {
  hot_events: 'Events of the person: the person taken out of them',
  restored_events: 'Events restored from the archive: the person taken out of them',
  set_aside_events: 'Rows that nobody had been answered with: removed whole',
  pending_events: 'Events that were not acknowledged yet: removed whole',
  directory: 'Entries of the directory that led to the person',
  scans: 'Scans and their findings that named the person',
  reasons: 'Reasons of holds, restores, redactions and offboardings that named the person',
  open_requests: 'Notes and requesters of other persons’ requests, where they named the person',
  archive_content: 'Archived events: the person taken out of them',
  log_files: 'Log files, which are looked at and from which nothing is removed',
}
const retirements: Readonly<Record<RetirementOutcome, string>> = {
  destroyed: 'destroyed',
  erased_manually: 'the person was erased there by hand',
  expired: 'what was there has expired',
  out_of_scope_confirmed: 'it held nothing of the person',
}
const residues: Readonly<Record<ResidualKind, string>> = {
  period_keys: 'Keys, without which copies of the destroyed keys in backups open nothing',
  request_key:
    'The key of this request, for what it keeps still: it opens copies in backups of what it kept before',
  oplog: 'The log of changes that the database keeps',
  backups: 'Backups of the database',
  workflow_histories: 'Histories of work that was done, which hold no personal data',
}
const unknowns: Readonly<Record<ResidualKind, string>> = {
  period_keys: 'not known',
  request_key: 'not known',
  oplog: 'not known: it could not be read',
  backups: 'not known: the operator has not said how long they are kept',
  workflow_histories: 'not known: it could not be asked',
}
const kinds: Readonly<Record<string, string>> = {
  collection: 'Collection',
  object_versions: 'Every version of the objects in',
  workflow_histories: 'Histories of workflows:',
  visibility: 'Records of workflows:',
  log_files: 'Log files:',
}
const outcomes: Readonly<Record<string, string>> = {
  acknowledged: 'have acknowledged it',
  refused: 'have refused it',
  timed_out: 'could not be reached in time',
  pending: 'have not answered yet',
}
const identifierNames: Readonly<Record<string, string>> = {
  id: 'id',
  email: 'e-mail address',
  phone: 'phone number',
  other: 'other',
}

const escape = (text: string): string =>
  text.replace(/[&<>"']/g, (character) => `&#${String(character.charCodeAt(0))};`)
const code = (text: string): string => `<code>${escape(text)}</code>`
const number = (value: number): string => value.toLocaleString('en')
const moment = (iso: string): string =>
  `<time datetime="${escape(iso)}">${escape(iso.slice(0, 16).replace('T', ' '))} UTC</time>`
const section = (title: string, body: string): string => `<section><h2>${title}</h2>${body}</section>`
const bullets = (lines: readonly string[]): string =>
  `<ul>${lines.map((line) => `<li>${escape(line)}</li>`).join('')}</ul>`
const list = (rows: readonly (readonly [string, string])[]): string =>
  `<dl>${rows.map(([term, value]) => `<dt>${term}</dt><dd>${value}</dd>`).join('')}</dl>`

/** Cells are HTML already. @param counts the last column is of numbers */
function table(heads: readonly string[], rows: readonly (readonly string[])[], counts = true): string {
  const kind = (index: number) => (counts && index === heads.length - 1 ? ' class="count"' : '')
  const head = heads.map((text, index) => `<th scope="col"${kind(index)}>${text}</th>`).join('')
  const body = rows.map(
    (cells) => `<tr>${cells.map((cell, index) => `<td${kind(index)}>${cell}</td>`).join('')}</tr>`,
  )
  return `<table><thead><tr>${head}</tr></thead><tbody>${body.join('')}</tbody></table>`
}

const identifiersText = (counts: Readonly<Record<string, number>>): string =>
  Object.entries(counts)
    .map(([kind, count]) => `${escape(identifierNames[kind] ?? kind)}: ${number(count)}`)
    .join(', ')
