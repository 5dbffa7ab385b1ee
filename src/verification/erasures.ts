/**
 * Values that are gone, until something sealed accounts for them. Pure.
 *
 * Leaves are read in order, and an erasure stands after what it took: `annals.subject.erasure_started` names the hash of a
 * manifest of subjects, `annals.subject.erased` and `annals.field.redacted` that of a manifest of fields. When such an
 * event is met, what was found to be gone before it and stands in its manifest is `erased`; what nothing accounts for at
 * the end is `missing`.
 *
 * The event is Annals' own (`system`, which no client may write), its values make its leaf, and it names two different
 * principals. The manifest is nobody's word: it counts only if its SHA-256 is the one that the leaf commits to. So who
 * deletes a value and puts an erasure beside it has to make a leaf, and the log says when.
 */
import type { LeafName } from './contract.js'
import { jsonOf, membersOf, metadataOf } from './event-values.js'
import type { FieldCounts, Findings } from './findings.js'

export type ReadManifest = (sha256: string) => Promise<Uint8Array | undefined>
/** 64 hex digits. */
export type Sha256 = (bytes: Uint8Array) => string

export interface GoneField {
  readonly slot: string
  readonly subject: string | undefined
}

interface Claim {
  readonly leaf: LeafName
  readonly slot: string
}

/** The blocks of one person that are gone. */
interface Claims {
  count: number
  readonly named: Map<string, Claim>
}

/** Of one person, whose events may be millions: those after these are counted, and not named. */
const maxNamed = 100_000
/** Fields of all, that wait for a manifest; beyond this they are missing at once. */
const maxWaiting = 1_000_000

/** What each names, by the kind of its manifest. */
const kinds = {
  'annals.subject.erasure_started': 'annals/erasure/subjects',
  'annals.subject.erased': 'annals/erasure/text',
  'annals.field.redacted': 'annals/redaction/fields',
} as const
type ManifestKind = (typeof kinds)[keyof typeof kinds]

const kindOf = (action: unknown): ManifestKind | undefined =>
  typeof action === 'string' && Object.hasOwn(kinds, action) ? kinds[action as keyof typeof kinds] : undefined

/** Is it worth a look? */
export const isErasure = (event: unknown): boolean => kindOf(membersOf(event)['action']) !== undefined

/** Is it the record of one that is? */
export const isErasureRecord = (record: string): boolean =>
  Object.keys(kinds).some((action) => record.startsWith(`{"action":"${action}",`))

export class Erasures {
  readonly #persons = new Map<string, Claims>()
  readonly #fields = new Map<string, Claim>()
  /** Whose block a name is. */
  readonly #owners = new Map<string, string>()

  constructor(
    private readonly counts: FieldCounts,
    private readonly findings: Findings,
    private readonly sha256: Sha256,
    private readonly read: ReadManifest | undefined,
  ) {}

  /** The values of an event that are gone. */
  note(leaf: LeafName, gone: readonly GoneField[]): void {
    const missing: Claim[] = []
    for (const { slot, subject } of gone) {
      const claim = { leaf, slot }
      if (subject !== undefined) this.#notePerson(subject, claim)
      else if (this.#fields.size < maxWaiting) this.#fields.set(nameOf(leaf.eventId, slot), claim)
      else missing.push(claim)
    }
    this.#missing(missing)
  }

  #notePerson(subject: string, claim: Claim): void {
    const claims = this.#persons.get(subject) ?? { count: 0, named: new Map<string, Claim>() }
    this.#persons.set(subject, claims)
    claims.count += 1
    if (claims.named.size >= maxNamed || this.#owners.size >= maxWaiting) return
    const name = nameOf(claim.leaf.eventId, claim.slot)
    claims.named.set(name, claim)
    this.#owners.set(name, subject)
  }

  /** An event that makes its leaf: does it account for what is gone before it? */
  async meet(event: unknown): Promise<void> {
    const erasure = erasureOf(event)
    if (erasure === undefined) return
    const bytes = await this.read?.(erasure.manifest)
    const accounted = bytes && accountedBy(erasure, bytes, this.sha256)
    if (accounted === undefined) return
    for (const subject of accounted.subjects) this.#forgive(subject, accounted.kept)
    for (const name of accounted.fields) this.#forgiveField(name)
  }

  /** @param kept blocks that wait under the request's own key: they go behind an event of their own, or not at all */
  #forgive(subject: string, kept: ReadonlySet<string>): void {
    const claims = this.#persons.get(subject)
    if (claims === undefined) return
    const waiting = [...claims.named].filter(([name]) => kept.has(name))
    this.counts.add('erased', claims.count - waiting.length)
    for (const name of claims.named.keys()) if (!kept.has(name)) this.#owners.delete(name)
    if (waiting.length === 0) this.#persons.delete(subject)
    else this.#persons.set(subject, { count: waiting.length, named: new Map(waiting) })
  }

  #forgiveField(name: string): void {
    const subject = this.#owners.get(name)
    const claims = subject === undefined ? undefined : this.#persons.get(subject)
    if (claims === undefined) {
      if (this.#fields.delete(name)) this.counts.add('erased')
      return
    }
    claims.named.delete(name)
    claims.count -= 1
    this.#owners.delete(name)
    this.counts.add('erased')
  }

  /** Is anything gone that nothing accounts for so far? */
  get waits(): boolean {
    return this.#persons.size > 0 || this.#fields.size > 0
  }

  /** Nothing more comes: what is left is missing. */
  settle(): void {
    const left = [...this.#fields.values()]
    for (const { count, named } of this.#persons.values()) {
      left.push(...named.values())
      this.counts.add('missing', count - named.size)
    }
    this.#missing(left)
  }

  /** One finding a leaf. */
  #missing(claims: readonly Claim[]): void {
    const byLeaf = new Map<number, { readonly leaf: LeafName; readonly slots: string[] }>()
    for (const { leaf, slot } of claims) {
      const found = byLeaf.get(leaf.index)
      if (found === undefined) byLeaf.set(leaf.index, { leaf, slots: [slot] })
      else found.slots.push(slot)
    }
    const detail = 'a value is gone, and nothing sealed accounts for it'
    for (const { leaf, slots } of [...byLeaf.values()].sort((a, b) => a.leaf.index - b.leaf.index)) {
      this.counts.add('missing', slots.length)
      const at = `leaf ${String(leaf.generation)}.${String(leaf.index)}`
      this.findings.add({ code: 'field_missing', at, detail, leaf, slots: slots.sort() })
    }
  }
}

/** Of one field, among those that are gone. */
export const nameOf = (eventId: string | undefined, slot: string) => `${eventId ?? ''}/${slot}`

/** What a manifest accounts for, in leaves before the event that names it. */
export interface Accounted {
  /** References of persons, all of whose blocks go but for those in `kept`. */
  readonly subjects: readonly string[]
  /** Names of fields, as are those in `fields`. */
  readonly kept: ReadonlySet<string>
  readonly fields: readonly string[]
}

/** undefined for bytes that are not the manifest that the event names. */
export function accountedBy(erasure: Erasure, bytes: Uint8Array, sha256: Sha256): Accounted | undefined {
  if (sha256(bytes) !== erasure.manifest) return undefined
  const manifest = membersOf(jsonOf(new TextDecoder().decode(bytes)))
  if (manifest['organizationId'] !== erasure.organizationId || manifest['kind'] !== erasure.kind)
    return undefined
  const names = (list: unknown) =>
    rows(list).flatMap((row) => {
      const [eventId, slot] = texts(row)
      return eventId === undefined || slot === undefined ? [] : [nameOf(eventId, slot)]
    })
  return erasure.kind === 'annals/erasure/subjects'
    ? { subjects: texts(manifest['subjects']), kept: new Set(names(manifest['restricted'])), fields: [] }
    : { subjects: [], kept: new Set(), fields: names(manifest['removed']) }
}

export interface Erasure {
  readonly organizationId: unknown
  readonly kind: ManifestKind
  readonly manifest: string
}

const principal = /^prn_[0-7][0-9a-hjkmnp-tv-z]{25}$/

/** What an erasure's event says; undefined for every other event, and for one that no two principals stand behind. */
export function erasureOf(event: unknown): Erasure | undefined {
  const { action, category, organizationId } = membersOf(event)
  const kind = kindOf(action)
  if (kind === undefined || category !== 'system') return undefined
  const metadata = metadataOf(event)
  const manifest = metadata.get('manifest')
  const [submitter, approver] = [metadata.get('submitter'), metadata.get('approver')]
  const two =
    typeof submitter === 'string' &&
    typeof approver === 'string' &&
    principal.test(submitter) &&
    principal.test(approver) &&
    submitter !== approver
  if (!two || typeof manifest !== 'string' || !/^[0-9a-f]{64}$/.test(manifest)) return undefined
  return { organizationId, kind, manifest }
}

const texts = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((one): one is string => typeof one === 'string') : []

const rows = (value: unknown): readonly unknown[] =>
  Array.isArray(value) ? (value as readonly unknown[]) : []
