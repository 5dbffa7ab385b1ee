/** What an audit event is, once validated, and what the other domains may ask of the events domain. Pure types. */
import type { ClientSession } from 'mongodb'
import type { FieldError } from '../errors.js'

export type JsonValue = string | number | boolean | null | JsonValue[] | { [key: string]: JsonValue }
export type JsonObject = Record<string, JsonValue>

export const outcomes = ['success', 'failure', 'denied'] as const
export type Outcome = (typeof outcomes)[number]

/** `system` is Annals' own; clients may use the first three. */
export const clientCategories = ['account', 'product', 'automation'] as const
export type Category = (typeof clientCategories)[number] | 'system'

/** An actor or a target as sent: a person or a thing. `type` decides which (subjects/policy.ts). */
export interface Party {
  readonly type: string
  readonly id?: string | undefined
  readonly name?: string | undefined
  readonly email?: string | undefined
  readonly metadata?: JsonObject | undefined
}

export interface EventContext {
  readonly ip?: string | undefined
  readonly userAgent?: string | undefined
  readonly requestId?: string | undefined
  readonly sessionId?: string | undefined
}

/** An event as validated and normalised: defaults filled in, times in UTC with milliseconds. */
export interface EventInput {
  readonly organizationId: string
  readonly action: string
  readonly occurredAt: Date
  readonly actor: Party
  readonly targets: readonly Party[]
  readonly context: EventContext
  readonly outcome: Outcome
  readonly category: Category
  readonly description?: string | undefined
  readonly metadata: JsonObject
  readonly version: number
}

/**
 * One of Annals' own events (`annals.…`, category `system`). The actor is a thing: `system` for Annals itself,
 * `principal` for the person or service behind a key, so that nothing in it is encrypted or ever erased.
 */
export interface SystemEvent {
  readonly organizationId: string
  readonly action: `annals.${string}`
  readonly occurredAt: Date
  readonly actor: { readonly type: 'system' | 'principal'; readonly id: string }
  readonly targets?: readonly Party[]
  readonly outcome?: Outcome
  readonly context?: { readonly requestId?: string }
  /** No personal value and no free text of a client's may stand here, except where the caller says why. */
  readonly metadata?: JsonObject
  /**
   * Makes the write idempotent: the event id is derived from it and the organization, apart from clients'
   * idempotency keys. The same key again changes nothing and answers the first event. Absent = a fresh event.
   */
  readonly onceKey?: string
}

export interface RecordedEvent {
  readonly id: string
  readonly organizationId: string
  readonly receivedAt: Date
  /** 32 bytes. */
  readonly leafHash: Uint8Array
  /** True where an earlier write under the same key answered. */
  readonly replayed: boolean
}

/** What is known for ever of an event that was sealed. */
export interface SealedEvent {
  /** 32 bytes. */
  readonly leafHash: Uint8Array
  readonly receivedAt: Date
}

/** The log's memory of ids. Implemented by `transparency-log/sealed-events.ts`; asked by intake. */
export interface SealedEvents {
  /** undefined = no event was ever sealed under this id. */
  find(organizationId: string, eventId: string): Promise<SealedEvent | undefined>
}

/** Writes Annals' own events. Implemented by `events/system-events.ts`; asked by every other domain. */
export interface SystemEventWriter {
  /** Resolves after a majority, journaled commit. @throws AnnalsError `unavailable` | `overloaded` */
  write(event: SystemEvent): Promise<RecordedEvent>
  /** Adds the event to the caller's transaction: it exists exactly when the transaction commits. */
  writeInTransaction(event: SystemEvent, session: ClientSession): Promise<RecordedEvent>
}

/** What the schema of an action's version asks of its events. */
export interface ActionRule {
  /** What of an event does not fit. */
  readonly check: (event: Pick<EventInput, 'targets' | 'context' | 'metadata'>) => readonly FieldError[]
  /** Top-level metadata keys that are personal; undefined where there are none. */
  readonly personalKeys: ReadonlySet<string> | undefined
}

/** The rules of actions. Implemented by `action-schemas/service.ts`; asked by intake. */
export interface ActionRules {
  /**
   * The rule for an event; undefined where its action has no schema. Waits only where it has to be read.
   * Rejects with what the database's failure is, where it is away.
   */
  of(action: string, version: number): ActionRule | undefined | Promise<ActionRule | undefined>
}
