/**
 * The wire form of an event: what clients send, checked once, at the edge. The same schemas make `/openapi.json`.
 *
 * Untidy but real input is not bad input: an `ip` that is no address, an id that is an e-mail, metadata keys
 * with dots, slashes or `$` are all taken as they are.
 */
import { z } from 'zod'
import { AnnalsError, type FieldError } from '../errors.js'
import { fieldErrorsOf } from '../http/validate.js'
import { idPattern } from '../ids.js'
import { organizationIdPattern, systemOrganizationId } from '../organizations/contract.js'
import { clientCategories, outcomes, type EventInput, type JsonObject } from './contract.js'
import { checkJson } from './json-check.js'
import { limits } from './limits.js'
import { parseTime } from './time.js'

export const actionPattern = /^[A-Za-z0-9_.:-]{1,128}$/
export const typePattern = /^[A-Za-z0-9_.:/ -]{1,64}$/

const metadata = z
  .custom<JsonObject>((value) => typeof value === 'object' && value !== null && !Array.isArray(value), {
    message: 'must be an object',
    params: { code: 'wrong_type' },
  })
  .meta({
    type: 'object',
    additionalProperties: true,
    description: `Free-form JSON, at most ${String(limits.maxMetadataKeys)} keys, nested at most ${String(limits.maxDepth)} deep. Reads back as {} where absent.`,
  })

const text = (max: number) => z.string().max(max)

const partySchema = z
  .strictObject({
    type: z.string().regex(typePattern).meta({ example: 'user' }),
    id: z.string().min(1).max(limits.maxPartyIdLength).optional().meta({ example: 'u_17' }),
    name: text(limits.maxNameLength).optional().meta({ example: 'Jane Doe' }),
    email: text(limits.maxEmailLength).optional().meta({ example: 'jane@acme.example' }),
    metadata: metadata.optional(),
  })
  .meta({ id: 'Party', description: 'A person or a thing. Persons are stored under a key of their own.' })

const contextSchema = z
  .strictObject({
    ip: text(limits.maxContextLength).optional(),
    userAgent: text(limits.maxContextLength).optional(),
    requestId: text(limits.maxContextLength).optional(),
    sessionId: text(limits.maxContextLength).optional(),
  })
  .meta({ id: 'EventContext' })

const eventShape = {
  id: z
    .string()
    .regex(idPattern('evt'))
    .optional()
    .meta({ description: 'A TypeID of your own; makes the post idempotent.' }),
  organizationId: z.string().regex(organizationIdPattern).meta({ example: 'org_acme' }),
  action: z.string().regex(actionPattern).meta({ example: 'team.member.invited' }),
  occurredAt: z.string().max(64).meta({
    format: 'date-time',
    description: 'RFC 3339 with a zone; kept as UTC with milliseconds. At most 24 h ahead of the server.',
    example: '2026-11-25T10:00:00.000Z',
  }),
  actor: partySchema,
  targets: z.array(partySchema).max(limits.maxTargets),
  context: contextSchema.optional(),
  outcome: z.enum(outcomes).optional().meta({ default: 'success' }),
  category: z.enum(clientCategories).optional().meta({ default: 'product' }),
  description: text(limits.maxDescriptionLength).optional(),
  metadata: metadata.optional(),
  version: z.int().min(1).max(1_000_000).optional().meta({ default: 1 }),
}

/** An event as posted alone. */
export const eventSchema = z
  .strictObject(eventShape)
  .meta({ id: 'Event', description: 'An audit event as a client sends it.' })

/** An event as an item of a batch: it may carry its idempotency key. */
export const eventItemSchema = z
  .strictObject({
    ...eventShape,
    idempotencyKey: z.string().min(1).max(limits.maxIdempotencyKeyLength).optional(),
  })
  .meta({ id: 'EventItem', description: 'An event in a batch, with its own idempotency key if wanted.' })

/** The body of a batch. Its items are checked one by one: the bad ones fail alone. */
export const batchSchema = z
  .strictObject({ events: z.array(eventItemSchema).min(1).max(limits.maxBatchEvents) })
  .meta({ id: 'EventBatch' })

const batchShape = z.strictObject({ events: z.array(z.unknown()).min(1).max(limits.maxBatchEvents) })

/**
 * The items of a batch, unchecked.
 * @throws AnnalsError `invalid` where the body is no batch
 */
export function parseBatch(body: unknown): unknown[] {
  const shape = batchShape.safeParse(body)
  if (shape.success) return shape.data.events
  const detail = 'The body must be {"events": […]}; see errors.'
  throw new AnnalsError('invalid', detail, { errors: fieldErrorsOf(shape.error, body) })
}

/** A checked event with what makes its write idempotent. */
export interface ParsedEvent {
  readonly event: EventInput
  readonly clientId: string | undefined
  readonly idempotencyKey: string | undefined
}

export type ParseResult =
  | { readonly ok: true; readonly parsed: ParsedEvent }
  | { readonly ok: false; readonly code: 'invalid' | 'too_large'; readonly errors: readonly FieldError[] }

/**
 * Checks and normalises one event.
 * @param value what `JSON.parse` gave
 * @param schema `eventSchema` or `eventItemSchema`
 * @param now the server's clock, for times in the future
 */
export function parseEvent(
  value: unknown,
  schema: typeof eventSchema | typeof eventItemSchema,
  now: number,
): ParseResult {
  const json = checkJson(value)
  if (json.errors.length > 0) return { ok: false, code: 'invalid', errors: json.errors }
  if (json.size > limits.maxEventBytes) {
    const message = `an event has at most ${String(limits.maxEventBytes)} bytes`
    return { ok: false, code: 'too_large', errors: [{ path: '', code: 'too_large', message }] }
  }
  const shape = schema.safeParse(value)
  if (!shape.success) return { ok: false, code: 'invalid', errors: shapeErrors(shape.error, value) }
  const sent: z.infer<typeof eventItemSchema> = shape.data
  const errors: FieldError[] = []
  const occurredAt = checkTime(sent.occurredAt, now, errors)
  if (sent.organizationId === systemOrganizationId) {
    errors.push({ path: 'organizationId', code: 'not_allowed', message: "this organization is Annals' own" })
  }
  if (sent.action.startsWith('annals.')) {
    errors.push({ path: 'action', code: 'reserved_action', message: "actions under annals. are Annals' own" })
  }
  if (sent.actor.id === undefined && (sent.actor.email === undefined || sent.actor.email.trim() === '')) {
    errors.push({ path: 'actor.id', code: 'missing', message: 'an actor has an id or an e-mail' })
  }
  const { idempotencyKey } = sent
  if (idempotencyKey !== undefined && sent.id !== undefined) {
    errors.push({
      path: 'idempotencyKey',
      code: 'conflict',
      message: 'give an id or an idempotency key, not both',
    })
  }
  for (const [path, object] of metadataOf(sent)) {
    if (Object.keys(object).length > limits.maxMetadataKeys) {
      errors.push({ path, code: 'too_many', message: `at most ${String(limits.maxMetadataKeys)} keys` })
    }
  }
  if (errors.length > 0 || occurredAt === undefined) return { ok: false, code: 'invalid', errors }
  const event: EventInput = {
    organizationId: sent.organizationId,
    action: sent.action,
    occurredAt,
    actor: sent.actor,
    targets: sent.targets,
    context: sent.context ?? {},
    outcome: sent.outcome ?? 'success',
    category: sent.category ?? 'product',
    description: sent.description,
    metadata: sent.metadata ?? {},
    version: sent.version ?? 1,
  }
  return { ok: true, parsed: { event, clientId: sent.id, idempotencyKey } }
}

function checkTime(text: string, now: number, errors: FieldError[]): Date | undefined {
  const time = parseTime(text)
  const path = 'occurredAt'
  if (time === 'no_time_zone') {
    errors.push({ path, code: time, message: 'needs a zone: Z or an offset such as +02:00' })
  } else if (time === 'malformed_time') {
    errors.push({ path, code: time, message: 'must be an RFC 3339 time such as 2026-11-25T10:00:00Z' })
  } else if (time.getTime() > now + limits.maxFutureMs) {
    errors.push({
      path,
      code: 'time_in_future',
      message: "lies more than 24 hours ahead of the server's clock",
    })
  } else {
    return time
  }
  return undefined
}

function metadataOf(sent: z.infer<typeof eventSchema>): [string, JsonObject][] {
  const found: [string, JsonObject][] = []
  if (sent.metadata !== undefined) found.push(['metadata', sent.metadata])
  if (sent.actor.metadata !== undefined) found.push(['actor.metadata', sent.actor.metadata])
  sent.targets.forEach((target, index) => {
    if (target.metadata !== undefined) found.push([`targets[${String(index)}].metadata`, target.metadata])
  })
  return found
}

/** A category of Annals' own gets a code of its own. */
function shapeErrors(error: z.ZodError, value: unknown): FieldError[] {
  const reserved =
    typeof value === 'object' && value !== null && 'category' in value && value.category === 'system'
  return fieldErrorsOf(error, value).map((one) =>
    reserved && one.path === 'category'
      ? { ...one, code: 'reserved_category', message: "the category system is Annals' own" }
      : one,
  )
}
