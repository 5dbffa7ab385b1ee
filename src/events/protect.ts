/**
 * From a checked event to its stored form: fields, salts, commitments, encryption, record, leaf hash, MAC.
 * Nothing here waits: the subjects' keys were resolved before.
 */
import type { OrganizationKeyset } from '../keys/organization-keys.js'
import { seal } from '../keys/wrapping.js'
import type { SubjectHandle } from '../subjects/directory.js'
import { canonicalJson } from './canonical-json.js'
import type { EventContext, EventInput, JsonObject, JsonValue, Party } from './contract.js'
import type { EventSearch } from './detectors/detector.js'
import { CommitmentList, leafHashOf, recordJson, saltBytes } from './record.js'
import { freshSalt } from './salts.js'
import { eventDocumentId, type StoredEvent, type StoredField } from './store.js'
import { actionPrefixes, clearTerm, keyedTerm } from './terms.js'

/** The subjects of an event's persons; undefined where a party is a thing. */
export interface EventSubjects {
  readonly actor: SubjectHandle | undefined
  readonly targets: readonly (SubjectHandle | undefined)[]
}

export interface ProtectOptions {
  readonly id: string
  readonly receivedAt: Date
  /** The post was idempotent: keep a fingerprint of the body to tell a repeat from a conflict. */
  readonly fingerprint: boolean
  /** Notes the kinds of personal data found in free text as terms beside it. */
  readonly search?: EventSearch | undefined
  /** Top-level metadata keys that the action's schema marks personal; they go into a person actor's block. */
  readonly personalKeys?: ReadonlySet<string> | undefined
}

/** Longest metadata value that gets a search term, in characters. */
const maxTermLength = 256

/** Builds the document of an event. */
export function protectEvent(
  event: EventInput,
  subjects: EventSubjects,
  keyset: OrganizationKeyset,
  options: ProtectOptions,
): StoredEvent {
  const builder = new FieldBuilder(options.id, keyset, options.search)
  const { actor, targets } = event
  const { requestId, ...person } = event.context
  const personalKeys = subjects.actor === undefined ? undefined : options.personalKeys
  if (subjects.actor === undefined) {
    builder.addText('actor', blockOf(actor), actor.id === undefined ? [] : [clearTerm('actorId', actor.id)])
  } else {
    const block = personActorBlock(event, person, personalKeys)
    builder.addPerson('actor', block, subjects.actor, contextTerms(keyset, event.context))
  }
  targets.forEach((target, index) => {
    const slot = `target/${String(index)}`
    const subject = subjects.targets[index]
    if (subject !== undefined) builder.addPerson(slot, blockOf(target), subject, [])
    else
      builder.addText(
        slot,
        blockOf(target),
        target.id === undefined ? [] : [clearTerm('targetId', target.id)],
      )
  })
  const context = compact(subjects.actor === undefined ? { ...event.context } : { requestId })
  if (Object.keys(context).length > 0) {
    const terms = subjects.actor === undefined ? contextTerms(keyset, event.context) : []
    if (requestId !== undefined) terms.push(clearTerm('requestId', requestId))
    builder.addClear('context', context, terms)
  }
  if (event.description !== undefined) builder.addText('description', event.description, [])
  const keys = Object.keys(event.metadata)
  const clearKeys = personalKeys === undefined ? keys : keys.filter((key) => !personalKeys.has(key))
  clearKeys.sort().forEach((key, index) => {
    const value = event.metadata[key] ?? null
    builder.addText(`metadata/${String(index)}`, [key, value], metadataTerms(key, value))
  })

  const envelope = {
    organizationId: event.organizationId,
    id: options.id,
    action: event.action,
    category: event.category,
    outcome: event.outcome,
    version: event.version,
    occurredAt: event.occurredAt,
    receivedAt: options.receivedAt,
    actorType: actor.type,
    targetTypes: targets.map((target) => target.type),
  }
  const leafHash = leafHashOf(recordJson(envelope, builder.commitments.digest()))
  const { id, ...stored } = envelope
  return {
    _id: eventDocumentId(event.organizationId, id),
    v: 1,
    ...stored,
    fields: [{ terms: envelopeTerms(event, subjects) }, ...builder.fields],
    leafHash,
    mac: intakeMac(keyset, id, leafHash),
    ...(options.fingerprint ? { fingerprint: fingerprintOf(event, keyset) } : {}),
    pending: true,
  }
}

/** HMAC(intake key, organizationId ‖ id ‖ leaf hash): what only Annals' intake can make. */
export function intakeMac(keyset: OrganizationKeyset, id: string, leafHash: Uint8Array): Buffer {
  return keyset.intake(Buffer.concat([Buffer.from(`${keyset.organizationId}\0${id}\0`), leafHash]))
}

/** The keyed fingerprint of a body: equal for equal events, whatever spelling of time or order of keys. */
export function fingerprintOf(event: EventInput, keyset: OrganizationKeyset): Buffer {
  const { occurredAt, actor, targets, context, description, ...rest } = event
  const body: JsonObject = {
    ...rest,
    occurredAt: occurredAt.toISOString(),
    actor: { type: actor.type, ...blockOf(actor) },
    targets: targets.map((target) => ({ type: target.type, ...blockOf(target) })),
    context: compact({ ...context }),
    description: description ?? null,
  }
  return keyset.fingerprint(`body\0${canonicalJson(body)}`)
}

/** Collects the fields of one event in slot order, with their commitments. */
class FieldBuilder {
  readonly fields: StoredField[] = []
  readonly commitments: CommitmentList

  constructor(
    private readonly eventId: string,
    private readonly keyset: OrganizationKeyset,
    private readonly search: EventSearch | undefined,
  ) {
    this.commitments = new CommitmentList(eventId)
  }

  addClear(slot: string, value: JsonValue, terms: bigint[]): void {
    this.#addClear(slot, canonicalJson(value), terms)
  }

  #addClear(slot: string, json: string, terms: bigint[]): void {
    const salt = freshSalt()
    this.commitments.add(slot, salt, json)
    this.fields.push(terms.length === 0 ? { slot, salt, value: json } : { slot, salt, value: json, terms })
  }

  /** A clear field of free text: what is detected in it becomes terms of it, and goes with it. */
  addText(slot: string, value: JsonValue, terms: bigint[]): void {
    const json = canonicalJson(value)
    if (this.search !== undefined) {
      for (const kind of this.search.kindsIn(value, json)) terms.push(clearTerm('detected', kind))
    }
    this.#addClear(slot, json, terms)
  }

  addPerson(slot: string, block: JsonObject, subject: SubjectHandle, terms: bigint[]): void {
    const { reference } = subject
    const subjectSalt = freshSalt()
    this.commitments.add(`${slot}/subject`, subjectSalt, `"${reference}"`)
    const salt = freshSalt()
    const json = canonicalJson(block)
    this.commitments.add(slot, salt, json)
    const commitment = this.commitments.last()
    const plaintext = Buffer.allocUnsafe(saltBytes + Buffer.byteLength(json))
    plaintext.set(salt, 0)
    plaintext.write(json, saltBytes)
    const sealed = seal(
      subject.key,
      plaintext,
      personSealPurpose(this.keyset.organizationId, this.eventId, slot),
    )
    const person = { slot, subject: reference, subjectSalt, sealed, commitment }
    this.fields.push(terms.length === 0 ? person : { ...person, terms })
  }
}

/** The additional data of a person's ciphertext: it opens nowhere else. */
export function personSealPurpose(organizationId: string, eventId: string, slot: string): string {
  return `annals/person/v1/${organizationId}/${eventId}/${slot}`
}

/** The actor's own members, with the context that is personal, and the metadata that a schema marks so. */
function personActorBlock(
  event: EventInput,
  personalContext: Omit<EventContext, 'requestId'>,
  personalKeys: ReadonlySet<string> | undefined,
): JsonObject {
  const block = blockOf(event.actor)
  const context = compact(personalContext)
  if (Object.keys(context).length > 0) block['context'] = context
  if (personalKeys === undefined) return block
  const pairs = Object.entries(event.metadata).filter(([key]) => personalKeys.has(key))
  if (pairs.length > 0) block['event'] = Object.fromEntries(pairs)
  return block
}

/** A party's members except its type, those that were sent. */
function blockOf(party: Party): JsonObject {
  const { id, name, email, metadata } = party
  return compact({ id, name, email, metadata })
}

function compact(members: Record<string, JsonValue | undefined>): JsonObject {
  const kept: JsonObject = {}
  for (const key of Object.keys(members)) {
    const value = members[key]
    if (value !== undefined) kept[key] = value
  }
  return kept
}

function envelopeTerms(event: EventInput, subjects: EventSubjects): bigint[] {
  const terms = [
    clearTerm('action', event.action),
    clearTerm('category', event.category),
    clearTerm('actorType', event.actor.type),
  ]
  for (const prefix of actionPrefixes(event.action)) terms.push(clearTerm('actionPrefix', prefix))
  // Nearly every event succeeds: a term for that would cost an index entry each and select nothing.
  if (event.outcome !== 'success') terms.push(clearTerm('outcome', event.outcome))
  for (const type of new Set(event.targets.map((target) => target.type)))
    terms.push(clearTerm('targetType', type))
  if (subjects.actor !== undefined) terms.push(clearTerm('actorSubject', subjects.actor.reference))
  for (const subject of subjects.targets) {
    if (subject !== undefined) terms.push(clearTerm('targetSubject', subject.reference))
  }
  return terms
}

function contextTerms(keyset: OrganizationKeyset, context: EventContext): bigint[] {
  const terms: bigint[] = []
  if (context.ip !== undefined) terms.push(keyedTerm(keyset, 'ip', context.ip))
  if (context.sessionId !== undefined) terms.push(keyedTerm(keyset, 'session', context.sessionId))
  return terms
}

/** A metadata pair is found by its value where that is a short text, a number or a truth value. */
export function metadataTerms(key: string, value: JsonValue): bigint[] {
  if (typeof value === 'object') return []
  const text = String(value)
  return text.length > maxTermLength ? [] : [clearTerm('metadata', `${key}\0${text}`)]
}
