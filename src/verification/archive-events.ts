/**
 * The events of an archive: each held to its record by the second implementation of the rules (event-check.ts), and the values
 * that are gone from them until something sealed accounts for them: an event behind them in the log, or one whose proof is in
 * the ledger.
 */
import type { SegmentRange } from '../archive/contract.js'
import type { CheckLine } from '../archive/segment-leaf-checks.js'
import type { ContentLine, RecordLine } from '../archive/segment.js'
import { equalHashes } from '../transparency-log/hash.js'
import type { Excuse, LeafName } from './contract.js'
import { provedErasure, type ReadLog } from './erasure-proof-check.js'
import { Erasures, isErasure, type GoneField, type Sha256 } from './erasures.js'
import { FieldCounts, Findings } from './findings.js'
import { nodeRules } from './node-rules.js'
import type { LogVerifiers } from './proved-event.js'

export interface ArchivedEventsOptions {
  readonly excuse?: Excuse | undefined
  readonly sha256: Sha256
  /** Keys of a log's checkpoints that were had from elsewhere; undefined = those that manifests name. */
  readonly logVerifiers?: LogVerifiers | undefined
  /** The manifest of an erasure by its hash; it need not be trusted. */
  readonly manifest?:
    ((organizationId: string, sha256: string) => Promise<Uint8Array | undefined>) | undefined
  /** The proofs that erasures of an organization were sealed, from the ledger; they need not be trusted. */
  readonly erasureProofs?: ((organizationId: string) => AsyncIterable<Uint8Array>) | undefined
}

export class ArchivedEvents {
  readonly fields = new FieldCounts()
  /** Values that are gone in the log that is being read, and what accounts for them. */
  #erasures: { readonly erasures: Erasures; readonly findings: Findings } | undefined
  /** Of the leaves of one tile, in their order. */
  readonly #waiting: ((erasures: Erasures) => Promise<void> | void)[] = []

  /**
   * @param findings where what is missing is added
   * @param met is given every event that makes its leaf
   */
  constructor(
    private readonly options: ArchivedEventsOptions,
    private readonly findings: Findings,
    private readonly met: (event: unknown) => void,
  ) {}

  /** Counts the fields of an event. A value that is gone is a finding, later; what is said here is a fault of the segment. */
  check(
    { generation }: Pick<SegmentRange, 'generation'>,
    organizationId: string,
    line: ContentLine,
    record: RecordLine,
  ): ReturnType<CheckLine> {
    const name: LeafName = { generation, index: record.index, eventId: record.id }
    const { excuse } = this.options
    const known = record.record === '' ? undefined : record.record
    const event = verifiableOf(organizationId, line)
    const gone: GoneField[] = []
    const check = nodeRules.checkEvent(event, known, (slot, subject) => {
      const state = excuse?.(name, slot, subject)
      if (state === undefined) gone.push({ slot, subject })
      return state
    })
    if (check.problem !== undefined) {
      this.fields.add('missing', check.fields.length)
      return check.problem
    }
    if (known === undefined && !makesLeaf(check.record, record.leafHash))
      return { code: 'record_differs', detail: 'the event does not make the leaf' }
    for (const { state } of check.fields) if (state !== 'missing') this.fields.add(state)
    if (gone.length > 0) this.#waiting.push((erasures) => erasures.note(name, gone))
    this.met(event)
    if (isErasure(event)) this.#waiting.push((erasures) => erasures.meet(event))
    return undefined
  }

  /** The tile holds: what is gone in it waits from now on, and what its events say of erasures counts. */
  async account(organizationId: string): Promise<void> {
    if (this.#waiting.length === 0) return
    this.#erasures ??= this.#newErasures(organizationId)
    for (const next of this.#waiting.splice(0)) await next(this.#erasures.erasures)
  }

  /** The tile that was begun does not hold: nothing in it counts. */
  drop(): void {
    this.#waiting.length = 0
  }

  /** The log is read: what nothing has accounted for is missing. @param logKeys those that manifests name */
  async settle(log: ReadLog, logKeys: readonly string[]): Promise<void> {
    const settled = this.#erasures
    if (settled === undefined) return
    if (settled.erasures.waits) await this.#meetProved(settled.erasures, log, logKeys)
    settled.erasures.settle()
    for (const finding of settled.findings.sorted())
      this.findings.add({ ...finding, at: `${log.organizationId} ${finding.at}` })
    this.#erasures = undefined
  }

  #newErasures(organizationId: string) {
    const { manifest, sha256 } = this.options
    const findings = new Findings()
    const read = manifest && ((named: string) => manifest(organizationId, named))
    return { erasures: new Erasures(this.fields, findings, sha256, read), findings }
  }

  /** The events of erasures that are not archived yet stand behind all that is: the ledger has their proofs. */
  async #meetProved(erasures: Erasures, log: ReadLog, logKeys: readonly string[]): Promise<void> {
    const { erasureProofs, logVerifiers } = this.options
    if (erasureProofs === undefined) return
    for await (const bytes of erasureProofs(log.organizationId)) {
      const event = provedErasure(bytes, log, logKeys, logVerifiers)
      if (event !== undefined) await erasures.meet(event)
      if (!erasures.waits) return
    }
  }
}

/** The verifiable form of the event in a line: no terms, and of a person's ciphertext only that it is there. */
function verifiableOf(organizationId: string, line: ContentLine): unknown {
  const { fields } = line
  if (!Array.isArray(fields)) return { ...line, organizationId }
  return { ...line, organizationId, fields: (fields as readonly unknown[]).flatMap(shownField) }
}

function shownField(field: unknown): unknown[] {
  if (typeof field !== 'object' || field === null) return [field]
  if (!('slot' in field)) return []
  return 'sealed' in field && typeof field.sealed === 'string' ? [{ ...field, withheld: true }] : [field]
}

const makesLeaf = (record: string | undefined, leafHash: Uint8Array): boolean =>
  record !== undefined && equalHashes(nodeRules.hasher.leaf(Buffer.from(record, 'utf8')), leafHash)
