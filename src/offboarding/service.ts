/**
 * Offboardings as the API offers them. Each change is one transaction with its event in the log of the deployment, where
 * it outlives the organization. An approval begins with the workflow, which waits for it to be written: while Temporal is
 * away nothing is stored, and once an offboarding is approved, something carries it out.
 */
import { hash } from 'node:crypto'
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/client'
import type { MongoClient } from 'mongodb'
import { AnnalsError, notFound, invalidField } from '../errors.js'
import type { SystemEventWriter } from '../events/contract.js'
import { newId } from '../ids.js'
import type { Logger } from '../logging.js'
import { inTransaction } from '../mongo/transaction.js'
import { isDuplicateKey } from '../mongo/unavailable.js'
import { systemOrganizationId, type Organization } from '../organizations/contract.js'
import type { HoldService } from '../retention/holds.js'
import { isTemporalUnavailable, type TemporalConnection } from '../temporal/client.js'
import {
  deadlineAttribute,
  kindAttribute,
  organizationAttribute,
  phaseAttribute,
} from '../temporal/search-attributes.js'
import {
  offboardingTaskQueue,
  offboardingWakeSignal,
  offboardingWorkflowId,
  offboardingWorkflowType,
  type OffboardingReference,
  type OffboardingState,
} from './contract.js'
import type { OffboardingDocument, OffboardingStore } from './store.js'

/** Who asks, for which organization, under which idempotency key if any. */
export interface OffboardingCall {
  readonly organizationId: string
  /** `prn_…` */
  readonly principal: string
  readonly requestId: string
  readonly idempotencyKey?: string | undefined
}

export interface OffboardingServiceDependencies {
  readonly client: MongoClient
  readonly store: OffboardingStore
  readonly holds: Pick<HoldService, 'active'>
  readonly systemEvents: Pick<SystemEventWriter, 'writeInTransaction'>
  /** @throws AnnalsError `not_found` | `wrong_region` | `offboarded` */
  readonly describe: (organizationId: string) => Promise<Organization>
  readonly temporal: Pick<TemporalConnection, 'client' | 'withTimeout'>
  readonly logger: Logger
  readonly now?: () => Date
}

export type OffboardingService = ReturnType<typeof createOffboardingService>

const temporalTimeoutMs = 5_000
const retryAfterSeconds = 5
const hourMs = 3_600_000
const maxListed = 500
const withdrawable: readonly OffboardingState[] = ['requested', 'cooling_off', 'on_hold']

export function createOffboardingService(deps: OffboardingServiceDependencies) {
  const { client, store, temporal, logger, systemEvents } = deps
  const now = deps.now ?? (() => new Date())

  async function read(reference: OffboardingReference): Promise<OffboardingDocument> {
    const found = await store.find(reference)
    if (found === undefined) throw notFound()
    return found
  }

  async function requireNoHold(organizationId: string): Promise<void> {
    if ((await deps.holds.active(organizationId)).length > 0)
      throw new AnnalsError('on_hold', 'Legal holds are in force; nothing was changed.')
  }

  const noteOf = (
    { organizationId, offboardingId }: OffboardingReference,
    what: 'requested' | 'approved' | 'withdrawn' | 'retried',
    { principal, requestId }: OffboardingCall,
    occurredAt: Date,
  ) => ({
    organizationId: systemOrganizationId,
    action: `annals.organization.offboarding_${what}` as const,
    occurredAt,
    actor: { type: 'principal' as const, id: principal },
    targets: [
      { type: 'organization', id: organizationId },
      { type: 'offboarding', id: offboardingId },
    ],
    context: { requestId },
  })

  function away(error: unknown): AnnalsError {
    if (isTemporalUnavailable(error)) logger.warn('offboardings.temporal_away', { error })
    else logger.error('offboardings.start_refused', { error })
    return new AnnalsError('temporal_unavailable', 'Nothing was started: Temporal cannot be reached.', {
      retryAfterSeconds,
      cause: error,
    })
  }

  /** Starts the workflow unless it runs, or has ended well, and tells it to look. @throws AnnalsError `temporal_unavailable` */
  async function startWorkflow(
    { organizationId, offboardingId }: OffboardingReference,
    endsAt: Date,
  ): Promise<void> {
    const reference = { organizationId, offboardingId }
    try {
      await temporal.withTimeout(temporalTimeoutMs, () =>
        temporal.client.workflow.signalWithStart(offboardingWorkflowType, {
          workflowId: offboardingWorkflowId(reference),
          taskQueue: offboardingTaskQueue,
          // An earlier one was withdrawn, or waited in vain, or was terminated: the document is what is true.
          workflowIdReusePolicy: 'ALLOW_DUPLICATE',
          args: [reference],
          signal: offboardingWakeSignal,
          signalArgs: [],
          staticSummary: `Offboarding of ${organizationId}`,
          typedSearchAttributes: [
            { key: organizationAttribute, value: organizationId },
            { key: kindAttribute, value: 'offboarding' },
            { key: phaseAttribute, value: 'cooling_off' },
            { key: deadlineAttribute, value: endsAt },
          ],
        }),
      )
    } catch (error) {
      if (error instanceof WorkflowExecutionAlreadyStartedError) return
      throw away(error)
    }
  }

  return {
    /**
     * Asks for an offboarding. The same key of the same principal answers the first.
     * @throws AnnalsError `not_found`; `forbidden`; `invalid`; `on_hold`; `wrong_state` where one stands already
     */
    async request(
      call: OffboardingCall,
      body: { readonly confirm: string; readonly reason: string },
    ): Promise<{ offboarding: OffboardingDocument; replayed: boolean }> {
      const { organizationId, principal, idempotencyKey } = call
      if (organizationId === systemOrganizationId)
        throw new AnnalsError('forbidden', 'The organization of Annals itself cannot go.')
      const creation =
        idempotencyKey === undefined
          ? null
          : hash('sha256', [principal, idempotencyKey, body.reason].join('\0'), 'base64url')
      const known = creation === null ? undefined : await store.createdBy(organizationId, creation)
      if (known !== undefined) return { offboarding: known, replayed: true }
      const { coolingOffHours } = await deps.describe(organizationId)
      if (body.confirm !== organizationId)
        throw invalidField('confirm', 'conflict', 'must be the id of this organization')
      await requireNoHold(organizationId)
      const offboardingId = newId('offboarding')
      const document: OffboardingDocument = {
        _id: offboardingId,
        organizationId,
        offboardingId,
        state: 'requested',
        standing: true,
        reason: body.reason,
        submitter: principal,
        requestedAt: now(),
        approver: null,
        approvedAt: null,
        coolingOffHours,
        coolingOffEndsAt: null,
        closedAt: null,
        steps: {},
        operator: null,
        final: null,
        removed: null,
        keyPeriods: [],
        locked: 0,
        eventId: null,
        endedAt: null,
        withdrawnBy: null,
        creation,
      }
      try {
        await inTransaction(client, async (session) => {
          await store.insert(document, session)
          const note = noteOf(document, 'requested', call, document.requestedAt)
          await systemEvents.writeInTransaction(note, session)
        })
        return { offboarding: document, replayed: false }
      } catch (error) {
        if (!isDuplicateKey(error)) throw error
        const first = creation === null ? undefined : await store.createdBy(organizationId, creation)
        if (first !== undefined) return { offboarding: first, replayed: true }
        throw new AnnalsError('wrong_state', 'Another offboarding of this organization stands already.')
      }
    },

    /**
     * Approves one: cooling off begins. The approver's own repeat answers as it is by then.
     * @throws AnnalsError `not_found`; `four_eyes`; `wrong_state`; `on_hold`; `temporal_unavailable` (nothing is stored)
     */
    async approve(call: OffboardingCall, offboardingId: string): Promise<OffboardingDocument> {
      const { organizationId, principal } = call
      const reference = { organizationId, offboardingId }
      const document = await read(reference)
      if (document.submitter === principal)
        throw new AnnalsError('four_eyes', 'Who asked for an offboarding does not approve it.')
      if (document.state !== 'requested') {
        if (document.approver !== principal || document.state === 'withdrawn') throw decided()
        if (document.endedAt === null) await startWorkflow(reference, document.coolingOffEndsAt ?? now())
        return read(reference)
      }
      await requireNoHold(organizationId)
      const at = now()
      const coolingOffEndsAt = new Date(at.getTime() + document.coolingOffHours * hourMs)
      await startWorkflow(reference, coolingOffEndsAt)
      const approved = await inTransaction(client, async (session) => {
        const change = {
          state: 'cooling_off' as const,
          approver: principal,
          approvedAt: at,
          coolingOffEndsAt,
        }
        if (!(await store.change(reference, ['requested'], change, session))) return false
        await systemEvents.writeInTransaction(noteOf(document, 'approved', call, at), session)
        return true
      })
      const after = await read(reference)
      if (!approved && after.approver !== principal) throw decided()
      return after
    },

    /** Withdraws one that has not begun. @throws AnnalsError `not_found`; `wrong_state` */
    async withdraw(call: OffboardingCall, offboardingId: string): Promise<OffboardingDocument> {
      const { organizationId, principal } = call
      const reference = { organizationId, offboardingId }
      const document = await read(reference)
      if (document.state === 'withdrawn') return document
      const at = now()
      const withdrawn = await inTransaction(client, async (session) => {
        const change = { state: 'withdrawn' as const, withdrawnBy: principal, endedAt: at }
        if (!(await store.change(reference, withdrawable, change, session))) return false
        await systemEvents.writeInTransaction(noteOf(document, 'withdrawn', call, at), session)
        return true
      })
      const after = await read(reference)
      if (!withdrawn && after.state !== 'withdrawn')
        throw new AnnalsError('wrong_state', 'The point of no return is behind it.')
      // Where Temporal does not hear of it, the workflow finds it out when its timer ends.
      await wake(reference).catch((error: unknown) => logger.warn('offboardings.temporal_away', { error }))
      return after
    },

    /** Lets one go on that an operator has seen to. @throws AnnalsError `not_found`; `wrong_state`; `temporal_unavailable` */
    async retry(call: OffboardingCall, offboardingId: string): Promise<OffboardingDocument> {
      const reference = { organizationId: call.organizationId, offboardingId }
      const document = await read(reference)
      if (document.state !== 'needs_operator')
        throw new AnnalsError('wrong_state', 'It waits for no operator.')
      await startWorkflow(reference, document.coolingOffEndsAt ?? now())
      await inTransaction(client, async (session) => {
        const change = { state: 'offboarding' as const, operator: null }
        if (!(await store.change(reference, ['needs_operator'], change, session))) return
        await systemEvents.writeInTransaction(noteOf(document, 'retried', call, now()), session)
      })
      await wake(reference).catch((error: unknown) => {
        throw away(error)
      })
      return read(reference)
    },

    /** @throws AnnalsError `not_found` */
    get: read,
    /** Newest first, 500 at most: withdrawn ones, and one that stands. */
    list: (organizationId: string): Promise<OffboardingDocument[]> => store.list(organizationId, maxListed),
  }

  function wake(reference: OffboardingReference): Promise<void> {
    const handle = temporal.client.workflow.getHandle(offboardingWorkflowId(reference))
    return temporal.withTimeout(temporalTimeoutMs, () => handle.signal(offboardingWakeSignal))
  }
}

const decided = () => new AnnalsError('wrong_state', 'It was approved by another, or withdrawn.')
