/** A verification in words. */
import {
  fieldStates,
  type AnchorReport,
  type FieldReport,
  type Finding,
  type LogReport,
} from '../../verification/contract.js'
import type { ArchiveReport } from '../../verification/archive-walk.js'
import type { ReceiptReport } from '../../verification/receipt-check.js'
import { table } from '../output.js'

const maxShown = 50
const number = (value: number) => value.toLocaleString('en')

export function logText(report: LogReport): string {
  const { origin, size, root, trustedLeaves, leaves, records, events } = report
  const { fields, findings, findingCount } = report
  const states = fieldStates.filter((state) => state === 'intact' || fields[state] > 0)
  const lines = [
    `${findingCount === 0 ? 'intact' : 'TAMPERING'}  ${origin}  ${number(size)} leaves  root ${root}`,
    `  leaves   ${number(leaves)} read${trustedLeaves > 0 ? `, ${number(trustedLeaves)} of the earlier checkpoint` : ''}`,
    `  records  ${number(records)} intact`,
    events === 0
      ? '  values   not verified'
      : `  values   ${number(events)} events; fields: ${states.map((state) => `${number(fields[state])} ${state}`).join(', ')}`,
  ]
  lines.push(...expiredLines(report))
  if (findingCount > 0) lines.push(summaryOf(findings, findingCount), findingsText(findings))
  if (findingCount > maxShown) lines.push(`  … and ${number(findingCount - maxShown)} more`)
  return lines.join('\n')
}

function expiredLines({ expired, expiredRecords }: Pick<LogReport, 'expired' | 'expiredRecords'>): string[] {
  const why = 'as sealed events say and policies allowed'
  return [
    ...(expired > 0 ? [`  expired  ${number(expired)} events, ${why}`] : []),
    ...(expiredRecords > 0 ? [`  expired  ${number(expiredRecords)} records, ${why}`] : []),
  ]
}

export function archiveText(report: ArchiveReport): string {
  const { logs, logCount, segments, unfinished, leaves, records, events, damaged } = report
  const { fields, findings, findingCount } = report
  const states = fieldStates.filter((state) => state === 'intact' || fields[state] > 0)
  const lines = [
    `${findingCount === 0 ? 'intact' : 'TAMPERING'}  ${number(logCount)} logs  ${number(segments)} segments  ${number(leaves)} leaves`,
    `  records  ${number(records)} intact`,
    `  values   ${number(events)} events; fields: ${states.map((state) => `${number(fields[state])} ${state}`).join(', ')}`,
  ]
  lines.push(...expiredLines(report))
  if (damaged > 0) lines.push(`  damaged  ${number(damaged)} events had no content when they were archived`)
  if (unfinished > 0) lines.push(`  besides  ${number(unfinished)} files that no manifest names yet`)
  const rows = logs
    .slice(0, maxShown)
    .map(({ organizationId, generation, from, to, size, root }) => [
      organizationId,
      String(generation),
      `${number(from)}–${number(to)}`,
      number(size),
      root,
    ])
  if (rows.length > 0) lines.push(table(['organization', 'generation', 'leaves', 'checkpoint', 'root'], rows))
  if (logCount > maxShown) lines.push(`  … and ${number(logCount - maxShown)} more logs`)
  if (findingCount > 0) lines.push(archiveSummary(findings, findingCount), findingsText(findings))
  if (findingCount > maxShown) lines.push(`  … and ${number(findingCount - maxShown)} more`)
  return lines.join('\n')
}

/** An archive has many logs: the object is named too. */
export function archiveSummary(findings: readonly Finding[], count: number): string {
  const [first] = findings
  return first === undefined ? summaryOf(findings, count) : `${summaryOf(findings, count)}; ${first.at}`
}

export function receiptText(report: ReceiptReport): string {
  const { origin, size, index, eventId, fields, eventIsGone, accounts, anchor, findings } = report
  const lines = [
    `${findings.length === 0 ? 'intact' : 'TAMPERING'}  ${eventId ?? 'a record'} is leaf ${String(index)} of ${origin ?? 'a log that is not known'}${size === undefined ? '' : `, ${number(size)} leaves`}`,
  ]
  if (fields.length > 0) lines.push(fieldsText(fields))
  if (eventIsGone)
    lines.push('  gone     the event is not there any more; verify the server to see whether it had to go')
  for (const { eventId: id, action, generation, index: at, slots } of accounts)
    lines.push(`  because  ${action} ${id}, leaf ${String(generation)}.${String(at)}: ${slots.join(', ')}`)
  lines.push(anchorText(anchor))
  if (findings.length > 0) lines.push(summaryOf(findings, findings.length), findingsText(findings))
  return lines.join('\n')
}

/** What is not anchored is said as plainly as what is. */
export function anchorText({ state, size, at, logId, cosignedBy }: AnchorReport): string {
  const witnesses = cosignedBy.length === 0 ? 'by no given witness' : `by ${cosignedBy.join(', ')}`
  const texts = {
    anchored: `the tree of ${number(size ?? 0)} leaves, at ${at ?? ''}; cosigned ${witnesses}; log id ${logId ?? ''}`,
    not_anchored: 'not anchored (yet): entries of the anchor log are a minute apart',
    unverified: 'there is a proof; give --anchor-key to verify it',
    invalid: 'DOES NOT HOLD',
  }
  return `  anchor   ${texts[state]}`
}

const fieldsText = (fields: readonly FieldReport[]) =>
  fields.map(({ slot, state }) => `  ${state.padEnd(8)} ${slot}`).join('\n')

/** One line for who reads only one. */
export function summaryOf(findings: readonly Finding[], count: number): string {
  const first = findings.find(({ leaf }) => leaf !== undefined)?.leaf
  const place =
    first === undefined
      ? 'no single leaf is to blame'
      : `the first leaf that differs is ${String(first.generation)}.${String(first.index)}${first.eventId === undefined ? '' : ` (event ${first.eventId})`}`
  return `${number(count)} ${count === 1 ? 'finding' : 'findings'}; ${place}`
}

export function findingsText(findings: readonly Finding[]): string {
  const rows = findings
    .slice(0, maxShown)
    .map(({ at, code, detail, leaf, slots }) => [
      at,
      leaf?.eventId ?? '',
      code,
      slots === undefined ? detail : `${detail}: ${slots.join(', ')}`,
    ])
  return table(['where', 'event', 'finding', ''], rows)
}
