/**
 * Redactions as the API offers them: ask for one, approve it, list them. What a request names is looked up when it is
 * made, and kept as event and slot: a path may hold a metadata key, which is a client's own word.
 *
 * An approval begins with the workflow, which waits for it to be written: while Temporal is away nothing is stored, and
 * once a redaction is approved, something carries it out.
 */
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/client'
import type { MongoClient } from 'mongodb'
import type { FieldName } from '../erasure/manifests.js'
import { AnnalsError, notFound, type FieldError, invalid, invalidField } from '../errors.js'
import { canonicalJson } from '../events/canonical-json.js'
import type { SystemEventWriter } from '../events/contract.js'
import type { EventFinder } from '../events/finding.js'
import type { StoredEvent } from '../events/store.js'
import { newId } from '../ids.js'
import type { OrganizationKeyset } from '../keys/organization-keys.js'
import type { Logger } from '../logging.js'
import { inTransaction } from '../mongo/transaction.js'
import { isDuplicateKey } from '../mongo/unavailable.js'
import type { HoldService } from '../retention/holds.js'
import { isHeld } from '../retention/policy.js'
import { isTemporalUnavailable, type TemporalConnection } from '../temporal/client.js'
import { kindAttribute, organizationAttribute, phaseAttribute } from '../temporal/search-attributes.js'
import {
  redactionLimits,
  redactionTaskQueue,
  redactionWorkflowId,
  redactionWorkflowType,
  type RedactionReference,
} from './contract.js'
import { hasValue, slotOf, type NamedField } from './fields.js'
import { heldEventOf } from './redactor.js'
import type { RedactionDocument, RedactionListQuery, RedactionStore } from './store.js'
import { lapsesAt } from './view.js'

export interface RedactionBody {
  readonly fields: readonly NamedField[]
  readonly reason: string
}

/** Who asks, for which organization, under which idempotency key if any. */
export interface RedactionCall {
  readonly organizationId: string
  /** `prn_…` */
  readonly principal: string
  readonly requestId: string
  readonly idempotencyKey?: string | undefined
}

export interface RedactionServiceDependencies {
  readonly client: MongoClient
  readonly store: RedactionStore
  readonly finder: EventFinder
  readonly holds: Pick<HoldService, 'active'>
  readonly systemEvents: Pick<SystemEventWriter, 'writeInTransaction'>
  readonly keysetOf: (organizationId: string) => Promise<OrganizationKeyset>
  /** The id that stands for an idempotency key. */
  readonly deriveId: (keyset: OrganizationKeyset, prefix: string, key: string) => string
  readonly temporal: Pick<TemporalConnection, 'client' | 'withTimeout'>
  readonly logger: Logger
  readonly now?: () => Date
}

export type RedactionService = ReturnType<typeof createRedactionService>

const temporalTimeoutMs = 5_000
const retryAfterSeconds = 5

export function createRedactionService(deps: RedactionServiceDependencies) {
  const { client, store, finder, systemEvents, temporal, logger } = deps
  const now = deps.now ?? (() => new Date())

  /** Events by id; one that is not there makes the request one for nothing. @throws AnnalsError `not_found` */
  async function eventsOf(
    organizationId: string,
    fields: readonly { readonly eventId: string }[],
  ): Promise<ReadonlyMap<string, StoredEvent>> {
    const eventIds = [...new Set(fields.map(({ eventId }) => eventId))]
    const found = await finder.find(organizationId, eventIds)
    if (found.size < eventIds.length) throw notFound()
    return found
  }

  /** @throws AnnalsError `invalid`; `wrong_state` where a value is gone already */
  function resolve(events: ReadonlyMap<string, StoredEvent>, named: readonly NamedField[]): FieldName[] {
    const errors: FieldError[] = []
    const fields = new Map<string, FieldName>()
    named.forEach((one, index) => {
      const event = events.get(one.eventId)
      const at = `fields[${String(index)}]`
      const slot = event && slotOf(event, one)
      if (event?.category === 'system') {
        const message = 'Annals’ own events are proofs, and stay'
        errors.push({ path: `${at}.eventId`, code: 'reserved_category', message })
      } else if (event === undefined || slot === undefined) {
        const path = `${at}.${'slot' in one ? 'slot' : 'path'}`
        errors.push({ path, code: 'not_allowed', message: 'the event has no such field, or it went' })
      } else fields.set(`${one.eventId}/${slot}`, { eventId: one.eventId, slot })
    })
    if (errors.length > 0) throw invalid(errors)
    return [...fields.values()]
  }

  function requireValues(events: ReadonlyMap<string, StoredEvent>, fields: readonly FieldName[]): void {
    for (const { eventId, slot } of fields) {
      const event = events.get(eventId)
      if (event === undefined || !hasValue(event, slot))
        throw new AnnalsError(
          'wrong_state',
          'The value of a field is gone already, or waits under another key.',
        )
    }
  }

  async function requireNoHold(
    organizationId: string,
    events: ReadonlyMap<string, StoredEvent>,
  ): Promise<void> {
    const holds = await deps.holds.active(organizationId)
    if ([...events.values()].some((event) => isHeld(heldEventOf(event), holds)))
      throw new AnnalsError('on_hold', 'A legal hold covers one of the events; nothing was changed.')
  }

  async function read(reference: RedactionReference): Promise<RedactionDocument> {
    const found = await store.find(reference)
    if (found === undefined) throw notFound()
    return found
  }

  /** Starts the workflow of a redaction unless it runs, or has ended well. @throws AnnalsError `temporal_unavailable` */
  async function startWorkflow({ organizationId, redactionId }: RedactionReference): Promise<void> {
    const reference = { organizationId, redactionId }
    try {
      await temporal.withTimeout(temporalTimeoutMs, () =>
        temporal.client.workflow.start(redactionWorkflowType, {
          workflowId: redactionWorkflowId(reference),
          taskQueue: redactionTaskQueue,
          workflowIdConflictPolicy: 'USE_EXISTING',
          // It may have waited in vain, or been terminated: the document is what is true, and goes on.
          workflowIdReusePolicy: 'ALLOW_DUPLICATE_FAILED_ONLY',
          args: [reference],
          staticSummary: `Redaction ${redactionId} for ${organizationId}`,
          typedSearchAttributes: [
            { key: organizationAttribute, value: organizationId },
            { key: kindAttribute, value: 'redaction' },
            { key: phaseAttribute, value: 'approved' },
          ],
        }),
      )
    } catch (error) {
      if (error instanceof WorkflowExecutionAlreadyStartedError) return
      const fields = { organizationId, error }
      if (isTemporalUnavailable(error)) logger.warn('redactions.temporal_away', fields)
      else logger.error('redactions.start_refused', fields)
      throw new AnnalsError('temporal_unavailable', 'Nothing was started: Temporal cannot be reached.', {
        retryAfterSeconds,
        cause: error,
      })
    }
  }

  const noteOf = (
    document: RedactionDocument,
    what: 'redaction_requested' | 'redaction_approved',
    { principal, requestId }: RedactionCall,
    occurredAt: Date,
  ) => ({
    organizationId: document.organizationId,
    action: `annals.field.${what}` as const,
    occurredAt,
    actor: { type: 'principal' as const, id: principal },
    targets: [{ type: 'redaction', id: document.redactionId }],
    context: { requestId },
    metadata: { fields: document.fields.length },
  })

  return {
    /**
     * Asks for a redaction. The same key with the same body answers the first.
     * @throws AnnalsError `not_found` where an event is not there; `invalid`; `wrong_state`; `on_hold`;
     *   `idempotency_conflict`
     */
    async request(
      call: RedactionCall,
      body: RedactionBody,
    ): Promise<{ redaction: RedactionDocument; replayed: boolean }> {
      const { organizationId, principal, idempotencyKey } = call
      const keyset = await deps.keysetOf(organizationId)
      const redactionId =
        idempotencyKey === undefined
          ? newId('redaction')
          : deps.deriveId(keyset, 'redaction', `redaction\0${idempotencyKey}`)
      const reference = { organizationId, redactionId }
      const bodyFingerprint =
        idempotencyKey === undefined ? null : keyset.fingerprint(`redaction\0${principal}\0${textOf(body)}`)
      const known = idempotencyKey === undefined ? undefined : await store.find(reference)
      if (known !== undefined) return { redaction: replay(known, bodyFingerprint), replayed: true }
      const events = await eventsOf(organizationId, body.fields)
      const fields = resolve(events, body.fields)
      requireValues(events, fields)
      await requireNoHold(organizationId, events)
      if ((await store.countOpen(organizationId)) >= redactionLimits.maxOpen)
        throw invalidField('', 'too_many', `at most ${String(redactionLimits.maxOpen)} redactions at a time`)
      const document: RedactionDocument = {
        _id: `${organizationId}/${redactionId}`,
        ...reference,
        state: 'requested',
        fields,
        reason: body.reason,
        submitter: principal,
        requestedAt: now(),
        approver: null,
        approvedAt: null,
        failure: null,
        removed: null,
        manifest: null,
        eventId: null,
        endedAt: null,
        bodyFingerprint,
      }
      try {
        await inTransaction(client, async (session) => {
          await store.insert(document, session)
          const note = noteOf(document, 'redaction_requested', call, document.requestedAt)
          await systemEvents.writeInTransaction(note, session)
        })
        return { redaction: document, replayed: false }
      } catch (error) {
        // The same key twice at once, or a commit whose answer was lost.
        if (idempotencyKey === undefined || !isDuplicateKey(error)) throw error
        return { redaction: replay(await read(reference), bodyFingerprint), replayed: true }
      }
    },

    /**
     * Approves one. The approver's own repeat answers as it is by then, and starts again what was terminated.
     * @throws AnnalsError `not_found`; `four_eyes`; `wrong_state`; `on_hold`; `temporal_unavailable` (nothing is stored)
     */
    async approve(call: RedactionCall, redactionId: string): Promise<RedactionDocument> {
      const { organizationId, principal } = call
      const reference = { organizationId, redactionId }
      const document = await read(reference)
      if (document.submitter === principal)
        throw new AnnalsError('four_eyes', 'Who asked for a redaction does not approve it.')
      if (document.state !== 'requested') {
        if (document.approver !== principal) throw decided()
        if (document.endedAt === null) await startWorkflow(reference)
        return read(reference)
      }
      if (now() >= lapsesAt(document))
        throw new AnnalsError('wrong_state', 'The request has lapsed; ask again.')
      const events = await eventsOf(organizationId, document.fields)
      requireValues(events, document.fields)
      await requireNoHold(organizationId, events)
      await startWorkflow(reference)
      const at = now()
      const approved = await inTransaction(client, async (session) => {
        const change = { state: 'approved' as const, approver: principal, approvedAt: at }
        if (!(await store.change(reference, ['requested'], change, session))) return false
        await systemEvents.writeInTransaction(noteOf(document, 'redaction_approved', call, at), session)
        return true
      })
      const after = await read(reference)
      if (!approved && after.approver !== principal) throw decided()
      return after
    },

    /** @throws AnnalsError `not_found` */
    get: read,
    list: (query: RedactionListQuery): Promise<RedactionDocument[]> => store.list(query),
  }
}

const decided = () => new AnnalsError('wrong_state', 'Another officer has approved it already.')

function replay(redaction: RedactionDocument, fingerprint: Buffer | null): RedactionDocument {
  if (redaction.bodyFingerprint !== null && fingerprint?.equals(redaction.bodyFingerprint) === true)
    return redaction
  throw new AnnalsError('idempotency_conflict', 'The idempotency key was used with another body.')
}

const textOf = ({ fields, reason }: RedactionBody): string =>
  canonicalJson({ fields: fields.map((field) => ({ ...field })), reason })
