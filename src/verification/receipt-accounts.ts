/**
 * Why a value is not in a receipt any more: beside its event a receipt carries the sealed events that account for it, each
 * with its own proof and the manifest that it names (docs/formats.md). Each is nobody's word until its own receipt is checked
 * against the log's keys, it stands behind the event, two principals stand behind it, and the manifest makes its hash.
 */
import { LogError } from '../transparency-log/errors.js'
import { accountedBy, erasureOf, nameOf, type Accounted } from './erasures.js'
import type { FieldExcuse } from './event-check.js'
import { membersOf } from './event-values.js'
import { nodeRules } from './node-rules.js'
import { provedEvent, standsBehind, type LogGeneration } from './proved-event.js'
import { receiptOfJson, recordId, type AccountReport } from './receipt-check.js'
import { nameOfOrigin } from './trust.js'

export interface AccountedReceipt {
  /** Of the log that the receipt is of. */
  readonly origin: string
  readonly index: number
  /** Canonical JSON. */
  readonly record: string
  /** As they stand in the receipt. */
  readonly accounts: readonly unknown[]
}

export interface ReceiptAccounts {
  readonly excuse: FieldExcuse
  /** Those that were needed, after the fields were looked at. */
  report(): readonly AccountReport[]
}

/** Of one event there are few; what is more is not looked at. */
const maxAccounts = 1_000

/** @param logKeys verifier keys that were had from elsewhere; those of one log of a deployment speak for all its logs */
export function receiptAccounts(
  { origin, index, record, accounts }: AccountedReceipt,
  logKeys: readonly string[],
): ReceiptAccounts {
  const named = nameOfOrigin(origin)
  const eventId = recordId(record)
  const log = named && { organizationId: named.organization, generation: named.generation }
  const proved = accounts
    .slice(0, maxAccounts)
    .flatMap((account) => (log && provedAccount(account, log, index, logKeys)) ?? [])
  const used = new Map<string, { readonly report: Omit<AccountReport, 'slots'>; readonly slots: string[] }>()
  return {
    excuse(slot, subject) {
      const name = nameOf(eventId, slot)
      const found = proved.find(({ accounted }) => covers(accounted, name, subject))
      if (found === undefined) return undefined
      const { report } = found
      const known = used.get(report.eventId) ?? { report, slots: [] }
      known.slots.push(slot)
      used.set(report.eventId, known)
      return 'erased'
    },
    report: () => [...used.values()].map(({ report, slots }) => ({ ...report, slots })),
  }
}

const covers = ({ subjects, kept, fields }: Accounted, name: string, subject: string | undefined): boolean =>
  (subject !== undefined && subjects.includes(subject) && !kept.has(name)) || fields.includes(name)

function provedAccount(
  account: unknown,
  log: LogGeneration,
  index: number,
  logKeys: readonly string[],
): { readonly accounted: Accounted; readonly report: Omit<AccountReport, 'slots'> } | undefined {
  const { receipt, manifest } = membersOf(account)
  if (typeof manifest !== 'string') return undefined
  try {
    const proved = provedEvent(receiptOfJson(receipt), log, logKeys)
    const erasure = proved && erasureOf(proved.event)
    if (proved === undefined || erasure?.organizationId !== log.organizationId) return undefined
    if (!standsBehind(proved, { generation: log.generation, to: index + 1 })) return undefined
    const accounted = accountedBy(erasure, Buffer.from(manifest), nodeRules.sha256)
    if (accounted === undefined) return undefined
    const { event, generation, index: at } = proved
    const { id, action } = membersOf(event)
    return { accounted, report: { eventId: String(id), action: String(action), generation, index: at } }
  } catch (error) {
    // No receipt, or keys that are none.
    if (error instanceof LogError) return undefined
    throw error
  }
}
