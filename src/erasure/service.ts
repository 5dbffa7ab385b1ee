/**
 * Erasure requests as the API offers them: submit, list, show, and what people do to them.
 *
 * A submission begins with the workflow: while Temporal is away nothing is stored, and once a request is stored its
 * workflow is there. An action is stored first, under a key by which it counts once, and then told to the workflow by an
 * Update that names it; the workflow alone applies actions, one after the other. A repeat of the same action finds what
 * came of it, also when the answer to the first was lost.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import {
  WorkflowExecutionAlreadyStartedError,
  WorkflowNotFoundError,
  WorkflowUpdateFailedError,
} from '@temporalio/client'
import { ApplicationFailure } from '@temporalio/common'
import type { MongoClient } from 'mongodb'
import type { DeliveryStore } from '../delivery/store.js'
import { AnnalsError, notFound } from '../errors.js'
import { canonicalJson } from '../events/canonical-json.js'
import type { JsonValue, SystemEventWriter } from '../events/contract.js'
import { notePersonalRead, type Reader } from '../events/personal-reads.js'
import { newId } from '../ids.js'
import type { OrganizationKeyset } from '../keys/organization-keys.js'
import type { PeriodKeys } from '../keys/period-keys.js'
import { PeriodMovedError } from '../keys/period-state.js'
import type { Logger } from '../logging.js'
import { inTransaction } from '../mongo/transaction.js'
import { isDuplicateKey } from '../mongo/unavailable.js'
import { normaliseEmail } from '../subjects/policy.js'
import { isTemporalUnavailable, type TemporalConnection } from '../temporal/client.js'
import {
  deadlineAttribute,
  kindAttribute,
  organizationAttribute,
  phaseAttribute,
} from '../temporal/search-attributes.js'
import {
  erasureTaskQueue,
  erasureWorkflowId,
  erasureWorkflowType,
  isFinal,
  type ActionReference,
  type ErasureAction,
  type ErasureGround,
  type ErasureIdentifier,
  type ErasureReference,
  type JointFreeText,
  type Recipient,
} from './contract.js'
import { dueMs, type Receipt } from './deadlines.js'
import type { ActionAnswer } from './policy.js'
import { eventOf, extensionOf, maxEvidence, needsSecondPrincipal } from './recorder.js'
import type { RequestOpener } from './requests.js'
import { createRequestKey, openRequestKey, sealPrivatePart, sealWords, type Words } from './sealed.js'
import { allows } from './state-machine.js'
import {
  erasureKey,
  type ActionFacts,
  type ActionOutcome,
  type ErasureActionDocument,
  type ErasureListQuery,
  type ErasureRequestDocument,
  type ErasureStore,
} from './store.js'
import { detailOf, viewOf, type ErasureDetail, type ErasureView } from './view.js'

export interface SubmitErasure {
  readonly identifiers: readonly ErasureIdentifier[]
  readonly ground: ErasureGround
  readonly requester: string
  readonly channel: string
  readonly received: Receipt
  readonly jointFreeText: JointFreeText
  readonly recipients: readonly Recipient[]
}

/** What somebody wants done to a request: what counts, and what they say about it. */
export interface Act {
  readonly action: ErasureAction
  readonly facts: ActionFacts
  readonly words: Words
}

/** Who asks, for which organization, under which idempotency key if any. */
export interface ErasureCall {
  readonly organizationId: string
  /** `prn_…` */
  readonly principal: string
  readonly idempotencyKey?: string | undefined
}

/** What a request needs of its organization. */
export interface ErasureOrganization {
  readonly keyset: OrganizationKeyset
  readonly version: number
  readonly coolingOffHours: number
  /** Of its retention policy; 0 = the default. */
  readonly retentionVersion: number
}

export interface ErasureServiceDependencies {
  readonly client: MongoClient
  readonly store: ErasureStore
  readonly requests: RequestOpener
  readonly events: Pick<SystemEventWriter, 'write' | 'writeInTransaction'>
  readonly periods: PeriodKeys
  readonly deliveries: Pick<DeliveryStore, 'outcomesOf'>
  readonly temporal: Pick<TemporalConnection, 'client' | 'withTimeout'>
  /** @throws AnnalsError `not_found` | `wrong_region` */
  readonly organizationOf: (organizationId: string) => Promise<ErasureOrganization>
  /** The id that stands for an idempotency key. */
  readonly deriveId: (keyset: OrganizationKeyset, prefix: string, key: string) => string
  readonly logger: Logger
  readonly now?: () => Date
}

const temporalTimeoutMs = 10_000
const retryAfterSeconds = 5
/** The workflow hears of a change of the request a moment after MongoDB has it; so long is it asked again. */
const lagAttempts = 12
const lagWaitMs = 250
const maxSubmitAttempts = 5

export type ErasureService = ReturnType<typeof createErasureService>

export function createErasureService(deps: ErasureServiceDependencies) {
  const { client, store, requests, events, periods, temporal, logger } = deps
  const now = deps.now ?? (() => new Date())

  async function find(request: ErasureReference): Promise<ErasureRequestDocument> {
    const document = await store.find(request)
    if (document === null) throw notFound()
    return document
  }

  /** Starts the workflow of a request unless it runs, or has ended well. @throws AnnalsError `temporal_unavailable` */
  async function startWorkflow(request: ErasureReference, dueAt: Date, again: boolean): Promise<void> {
    try {
      await temporal.withTimeout(temporalTimeoutMs, () =>
        temporal.client.workflow.start(erasureWorkflowType, {
          workflowId: erasureWorkflowId(request.organizationId, request.requestId),
          taskQueue: erasureTaskQueue,
          workflowIdConflictPolicy: 'USE_EXISTING',
          // Somebody may have terminated it in Temporal: the request is what is true, and goes on.
          workflowIdReusePolicy: again ? 'ALLOW_DUPLICATE_FAILED_ONLY' : 'REJECT_DUPLICATE',
          // Its two ids and no more: what is given may be a whole document.
          args: [{ request: { organizationId: request.organizationId, requestId: request.requestId } }],
          staticSummary: `Erasure ${request.requestId} for ${request.organizationId}`,
          typedSearchAttributes: [
            { key: organizationAttribute, value: request.organizationId },
            { key: kindAttribute, value: 'erasure' },
            { key: phaseAttribute, value: 'received' },
            { key: deadlineAttribute, value: dueAt },
          ],
        }),
      )
    } catch (error) {
      if (error instanceof WorkflowExecutionAlreadyStartedError) return
      const fields = { organizationId: request.organizationId, erasureId: request.requestId, error }
      if (isTemporalUnavailable(error)) logger.warn('erasures.temporal_away', fields)
      else logger.error('erasures.start_refused', fields)
      throw temporalAway(error)
    }
  }

  return {
    /**
     * Submits a request. One about the same identifiers as an open one is stored as its duplicate, without identifiers.
     * @returns the request, and whether an earlier call under the same idempotency key had submitted it
     * @throws AnnalsError `not_found` | `temporal_unavailable` (nothing is stored) | `idempotency_conflict`
     */
    async submit(
      call: ErasureCall,
      body: SubmitErasure,
    ): Promise<{ erasure: ErasureView; replayed: boolean }> {
      const { organizationId, principal, idempotencyKey } = call
      const organization = await deps.organizationOf(organizationId)
      const { keyset } = organization
      const requestId =
        idempotencyKey === undefined
          ? newId('erasure')
          : deps.deriveId(keyset, 'erasure', `erasure/submit\0${idempotencyKey}`)
      const request = { organizationId, requestId }
      const bodyFingerprint = keyset.fingerprint(`erasure/submit\0${canonicalJson(asJson(body))}`)
      const known = idempotencyKey === undefined ? null : await store.find(request)
      if (known !== null) return { erasure: replay(known, principal, bodyFingerprint), replayed: true }

      const identifiersKey = keyset
        .fingerprint(`erasure/identifiers\0${identifierSet(body.identifiers)}`)
        .toString('base64url')
      const make = () =>
        newDocument(request, principal, organization, body, { at: now(), bodyFingerprint, identifiersKey })
      let document = make()
      for (let attempt = 0; attempt < maxSubmitAttempts; attempt += 1) {
        const first = await store.findByIdentifiers(organizationId, identifiersKey)
        if (first !== null && first.requestId !== requestId) {
          const erasure = await submitDuplicate(document, first)
          return { erasure, replayed: false }
        }
        await startWorkflow(request, document.dueAt, false)
        try {
          await insert(document, null)
          return { erasure: viewOf(document), replayed: false }
        } catch (error) {
          if (error instanceof PeriodMovedError) {
            await periods.refresh()
            document = make()
            continue
          }
          if (!isDuplicateKey(error)) throw error
        }
        // Somebody was quicker: with the same idempotency key, or about the same person.
        const taken = await store.find(request)
        if (taken !== null) return { erasure: replay(taken, principal, bodyFingerprint), replayed: true }
      }
      // Each time another request about the person had begun, and had ended when it was looked at.
      throw new AnnalsError('unavailable', 'Another request about the person is just ending; try again.', {
        retryAfterSeconds,
      })
    },

    /** Newest first by submission, then id; `limit` at most. */
    async list(query: ErasureListQuery): Promise<ErasureView[]> {
      return (await store.list(query)).map(viewOf)
    },

    /**
     * One request, with what happened to it; for a reader who asks for it, and may, with the person's identifiers.
     * @throws AnnalsError `not_found`
     */
    async get(request: ErasureReference, reader: Reader | null): Promise<ErasureDetail> {
      const document = await find(request)
      const personal = reader === null ? null : await requests.personalOf(document)
      if (reader !== null && personal !== null) {
        await notePersonalRead(events, {
          organizationId: request.organizationId,
          reader,
          note: { by: 'erasure', erasure: request.requestId },
          events: 0,
          shown: [],
          leases: [],
        })
      }
      return detailOf(document, await deps.deliveries.outcomesOf(request), personal)
    },

    /**
     * Does something to a request, once.
     * @returns the request as it is afterwards
     * @throws AnnalsError `not_found` | `wrong_state` | `four_eyes` | `idempotency_conflict` | `temporal_unavailable`
     */
    async act(call: ErasureCall, requestId: string, act: Act): Promise<ErasureView> {
      const request = { organizationId: call.organizationId, requestId }
      const { keyset } = await deps.organizationOf(call.organizationId)
      const document = await find(request)
      const action = await storeAction(keyset, document, call, act)
      const outcome = action.outcome ?? (await decide(document, action))
      if (!outcome.applied) throw refusal(outcome.code)
      return viewOf(await find(request))
    },
  }

  async function insert(document: ErasureRequestDocument, first: ErasureReference | null): Promise<void> {
    await inTransaction(client, async (session) => {
      // No key is stored under a period whose key a rotation is about to delete.
      if (document.key !== null) await periods.pin(document.key.period, session)
      await store.insert(document, session)
      if (first !== null) await store.addDuplicate(first, document.requestId, session)
      await events.writeInTransaction(
        eventOf(document, 'annals.erasure.submitted', document.submittedAt, document.submitter, {
          ground: document.ground,
          receivedAt: document.receivedAt.toISOString(),
          dueAt: document.dueAt.toISOString(),
          ...(first === null ? {} : { duplicateOf: first.requestId }),
        }),
        session,
      )
    })
  }

  async function submitDuplicate(
    document: ErasureRequestDocument,
    first: ErasureRequestDocument,
  ): Promise<ErasureView> {
    const { identifiersKey: _gone, ...rest } = document
    const { submittedAt: at, submitter: by } = document
    const duplicate: ErasureRequestDocument = {
      ...rest,
      state: 'duplicate',
      duplicateOf: first.requestId,
      key: null,
      sealed: null,
      bodyFingerprint: null,
      endedAt: at,
      evidence: [...document.evidence, { event: 'matched_duplicate', at, by, state: 'duplicate' }],
    }
    try {
      await insert(duplicate, first)
    } catch (error) {
      const taken = isDuplicateKey(error) ? await store.find(document) : null
      if (taken === null) throw error
      return viewOf(taken)
    }
    return viewOf(duplicate)
  }

  function newDocument(
    request: ErasureReference,
    submitter: string,
    organization: ErasureOrganization,
    body: SubmitErasure,
    rest: { readonly at: Date; readonly bodyFingerprint: Buffer; readonly identifiersKey: string },
  ): ErasureRequestDocument {
    const { key, wrapped } = createRequestKey(organization.keyset, periods, request)
    const { identifiers, requester, channel, recipients, received } = body
    const { at, bodyFingerprint, identifiersKey } = rest
    return {
      _id: erasureKey(request.organizationId, request.requestId),
      ...request,
      version: 1,
      state: 'received',
      resumeAt: null,
      submittedAt: at,
      submitter,
      receivedAt: new Date(received.atMs),
      receivedOffsetMinutes: received.offsetMinutes,
      ground: body.ground,
      jointFreeText: body.jointFreeText,
      identifierKinds: identifiers.map(({ kind }) => kind),
      recipientCount: recipients.length,
      policy: {
        version: organization.version,
        coolingOffHours: organization.coolingOffHours,
        retentionVersion: organization.retentionVersion,
      },
      key: wrapped,
      sealed: sealPrivatePart(key, request, { identifiers, requester, channel, recipients }),
      words: [],
      bodyFingerprint,
      identifiersKey,
      dueAt: new Date(dueMs(received, false)),
      extendedAt: null,
      remindedFor: null,
      overdueFor: null,
      approver: null,
      exempt: [],
      confirmed: [],
      denialGround: null,
      coolingOffEndsAt: null,
      recheckAt: null,
      expiryAt: null,
      operator: null,
      scope: null,
      attestations: [],
      duplicateOf: null,
      duplicates: [],
      evidence: [{ event: 'submitted', at, by: submitter, state: 'received', ground: body.ground }],
      endedAt: null,
    }
  }

  /**
   * Stores what is to be done, or finds it stored: by its idempotency key, or, without one, as the same thing wanted by
   * the same person of the same version of the request. What cannot be is refused before it is stored.
   */
  async function storeAction(
    keyset: OrganizationKeyset,
    document: ErasureRequestDocument,
    { principal, idempotencyKey }: ErasureCall,
    { action, facts, words }: Act,
  ): Promise<ErasureActionDocument> {
    const bodyFingerprint = keyset.fingerprint(
      `erasure/action\0${canonicalJson({ action, principal, facts: factsAsJson(facts), words: { ...words } })}`,
    )
    const businessKey =
      idempotencyKey === undefined
        ? `${action}/${String(document.version)}/${bodyFingerprint.toString('base64url')}`
        : `key/${keyset.fingerprint(`erasure/action-key\0${idempotencyKey}`).toString('base64url')}`
    const stored = await store.findActionByKey(document, businessKey)
    const standing = stored ?? (await makeAction())
    if (!standing.bodyFingerprint.equals(bodyFingerprint)) {
      throw new AnnalsError('idempotency_conflict', 'The idempotency key was used with another body.')
    }
    return standing

    async function makeAction(): Promise<ErasureActionDocument> {
      const at = now()
      refuseImpossible(document, action, principal, at)
      const actionId = newId('eact')
      if (document.key !== null) await periods.ensure([document.key.period])
      const sealedWords =
        document.key === null || Object.keys(words).length === 0
          ? null
          : sealWords(openRequestKey(keyset, periods, document, document.key), document, actionId, words)
      const { organizationId, requestId } = document
      return store.insertAction({
        _id: erasureKey(organizationId, actionId),
        organizationId,
        requestId,
        actionId,
        action,
        businessKey,
        bodyFingerprint,
        principal,
        at,
        facts,
        sealedWords,
        outcome: null,
      })
    }
  }

  /** Has the workflow apply a stored action. @throws AnnalsError `wrong_state` | `temporal_unavailable` */
  async function decide(
    document: ErasureRequestDocument,
    { action, actionId }: ErasureActionDocument,
  ): Promise<Pick<ActionOutcome, 'applied'> & { readonly code: ActionAnswer['code'] }> {
    const { organizationId, requestId } = document
    const handle = temporal.client.workflow.getHandle(erasureWorkflowId(organizationId, requestId))
    for (let attempt = 0; attempt < lagAttempts; attempt += 1) {
      if (attempt > 0) await sleep(lagWaitMs)
      try {
        return await temporal.withTimeout(temporalTimeoutMs, () =>
          handle.executeUpdate<ActionAnswer, [ActionReference]>(action, {
            args: [{ actionId }],
            updateId: actionId,
          }),
        )
      } catch (error) {
        if (error instanceof WorkflowNotFoundError) {
          // Its workflow has ended with it, or was terminated by somebody.
          const current = await find(document)
          if (isFinal(current.state)) break
          await startWorkflow(document, current.dueAt, true)
        } else if (!isRefusal(error)) {
          logger.warn('erasures.action_not_applied', { organizationId, erasureId: requestId, error })
          throw temporalAway(error)
        }
      }
      // The answer to an earlier attempt may have been lost, and the workflow may lag behind what is stored.
      const { outcome } = (await store.findAction(organizationId, actionId)) ?? { outcome: null }
      if (outcome !== null) return outcome
      if (!allows(await find(document), action)) break
    }
    const { outcome } = (await store.findAction(organizationId, actionId)) ?? { outcome: null }
    if (outcome !== null) return outcome
    if (allows(await find(document), action)) throw temporalAway(undefined)
    return { applied: false, code: 'wrong_state' }
  }
}

/** @throws AnnalsError `wrong_state` | `four_eyes` where the stored request does not allow the action */
function refuseImpossible(
  document: ErasureRequestDocument,
  action: ErasureAction,
  principal: string,
  at: Date,
): void {
  if (needsSecondPrincipal(action) && principal === document.submitter) throw refusal('four_eyes')
  if (!allows(document, action) || document.evidence.length >= maxEvidence) throw refusal('wrong_state')
  if (action !== 'extend') return
  const possible = extensionOf(document, at)
  if (possible === 'extended_already') {
    throw new AnnalsError('wrong_state', 'The deadline was extended before; that is possible once.')
  }
  if (possible === 'too_late') {
    throw new AnnalsError('wrong_state', 'An extension is possible within the first month only (Art. 12(3)).')
  }
}

function refusal(code: ActionAnswer['code']): AnnalsError {
  return code === 'four_eyes'
    ? new AnnalsError('four_eyes', 'Who submitted the request cannot decide on it; another officer must.')
    : new AnnalsError('wrong_state', 'The state of the request does not allow this.')
}

/** The validator of the Update said no. */
function isRefusal(error: unknown): boolean {
  return (
    error instanceof WorkflowUpdateFailedError &&
    error.cause instanceof ApplicationFailure &&
    error.cause.type === 'wrong_state'
  )
}

function temporalAway(cause: unknown): AnnalsError {
  return new AnnalsError(
    'temporal_unavailable',
    'The workflow of the request could not be reached; try again.',
    {
      retryAfterSeconds,
      cause,
    },
  )
}

/** Who submitted it first gets it again; after its end, when the body can be compared with nothing any more, too. */
function replay(known: ErasureRequestDocument, principal: string, bodyFingerprint: Buffer): ErasureView {
  const same = known.bodyFingerprint === null || known.bodyFingerprint.equals(bodyFingerprint)
  if (!same || known.submitter !== principal) {
    throw new AnnalsError('idempotency_conflict', 'The idempotency key was used with another body.')
  }
  return viewOf(known)
}

/** The same for the same persons, however the identifiers are written and ordered. */
function identifierSet(identifiers: readonly ErasureIdentifier[]): string {
  const each = identifiers.map((identifier) =>
    identifier.kind === 'id'
      ? ['id', identifier.type.toLowerCase(), identifier.value]
      : [
          identifier.kind,
          identifier.kind === 'email' ? normaliseEmail(identifier.value) : identifier.value.trim(),
        ],
  )
  return JSON.stringify([...new Set(each.map((one) => JSON.stringify(one)))].sort())
}

function asJson({ identifiers, recipients, received, ...rest }: SubmitErasure): JsonValue {
  return {
    ...rest,
    received: { ...received },
    identifiers: identifiers.map((identifier) => ({ ...identifier })),
    recipients: recipients.map((recipient) => ({ ...recipient })),
  }
}

function factsAsJson({ exempt, confirmed, ...rest }: ActionFacts): JsonValue {
  return {
    ...rest,
    ...(exempt === undefined ? {} : { exempt: exempt.map((one) => ({ ...one })) }),
    ...(confirmed === undefined ? {} : { confirmed: [...confirmed] }),
  }
}
