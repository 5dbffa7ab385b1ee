/**
 * What people do to a request. An action is stored first, under a key by which it counts once, and then told to the
 * workflow by an Update that names it; the workflow alone applies actions, one after the other. A repeat of the same action
 * finds what came of it, also when the answer to the first was lost.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { WorkflowNotFoundError, WorkflowUpdateFailedError } from '@temporalio/client'
import { ApplicationFailure } from '@temporalio/common'
import { AnnalsError, invalidField, notFound } from '../errors.js'
import { canonicalJson } from '../events/canonical-json.js'
import type { JsonValue } from '../events/contract.js'
import { newId } from '../ids.js'
import type { OrganizationKeyset } from '../keys/organization-keys.js'
import type { PeriodKeys } from '../keys/period-keys.js'
import type { Logger } from '../logging.js'
import type { TemporalConnection } from '../temporal/client.js'
import type { ErasureCall, ErasureOrganization } from './calls.js'
import {
  erasureActions,
  erasureWorkflowId,
  isFinal,
  type ActionReference,
  type ErasureAction,
  type ErasureReference,
} from './contract.js'
import { namesSomebody, type NamingDependencies } from './naming.js'
import type { ActionAnswer } from './policy.js'
import { extensionOf, maxEvidence, needsSecondPrincipal } from './changes.js'
import { temporalAway, temporalTimeoutMs, type StartRequestWorkflow } from './request-workflow.js'
import { openRequestKey, sealWords, type Words } from './sealed.js'
import { mayRetire } from './retiring.js'
import { allows } from './state-machine.js'
import { leavesOpenWhom } from './whom.js'
import {
  erasureKey,
  type ActionFacts,
  type ActionOutcome,
  type ErasureActionDocument,
  type ErasureRequestDocument,
  type ErasureStore,
} from './store.js'
import { viewOf, type ErasureView } from './view.js'

/** What somebody wants done to a request: what counts, and what they say about it. */
export interface Act {
  readonly action: ErasureAction
  readonly facts: ActionFacts
  readonly words: Words
}

export interface DecisionDependencies {
  readonly store: ErasureStore
  readonly periods: PeriodKeys
  readonly progress: NamingDependencies['progress']
  readonly temporal: Pick<TemporalConnection, 'client' | 'withTimeout'>
  /** @throws AnnalsError `not_found` | `wrong_region` */
  readonly organizationOf: (organizationId: string) => Promise<ErasureOrganization>
  readonly logger: Logger
  readonly now?: () => Date
}

/** The workflow hears of a change of the request a moment after MongoDB has it; so long is it asked again. */
const lagAttempts = 12
const lagWaitMs = 250

export interface Decision {
  /**
   * Does something to a request, once.
   * @returns the request as it is afterwards
   * @throws AnnalsError `not_found` | `wrong_state` | `four_eyes` | `idempotency_conflict` | `temporal_unavailable`
   */
  act(call: ErasureCall, requestId: string, act: Act): Promise<ErasureView>
}

export function createDecision(deps: DecisionDependencies, startWorkflow: StartRequestWorkflow): Decision {
  const { store, periods, temporal, logger } = deps
  const now = deps.now ?? (() => new Date())

  async function find(request: ErasureReference): Promise<ErasureRequestDocument> {
    const document = await store.find(request)
    if (document === null) throw notFound()
    return document
  }

  return {
    async act(call, requestId, act) {
      const request = { organizationId: call.organizationId, requestId }
      const { keyset } = await deps.organizationOf(call.organizationId)
      const document = await find(request)
      const action = await storeAction(keyset, document, call, act)
      const outcome = action.outcome ?? (await decide(document, action))
      if (!outcome.applied) throw refusal(outcome.code, await find(request))
      return viewOf(await find(request))
    },
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
      refuseImpossible(document, { action, facts }, principal, at)
      if (facts.reason !== undefined) await refuseNaming(keyset, document, facts.reason)
      if (
        action === 'approve' &&
        document.scope !== null &&
        leavesOpenWhom(document.scope, facts.confirmed ?? [])
      )
        throw invalidField(
          'confirm',
          'missing',
          'The e-mail is that of several persons: confirm that all of them are meant, or deny.',
        )
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

  /** A reason that is kept for ever names nobody. @throws AnnalsError `invalid` with `personal_data` */
  async function refuseNaming(
    keyset: OrganizationKeyset,
    document: ErasureRequestDocument,
    reason: string,
  ): Promise<void> {
    if (await namesSomebody(deps, keyset, document, reason))
      throw invalidField(
        'statement',
        'personal_data',
        'The reason is kept when the person is gone: say it without naming anybody.',
      )
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
  { action, facts }: Pick<Act, 'action' | 'facts'>,
  principal: string,
  at: Date,
): void {
  if (needsSecondPrincipal({ action, facts }) && principal === document.submitter)
    throw refusal('four_eyes', document)
  if (!allows(document, action)) throw refusal('wrong_state', document)
  if (document.evidence.length >= maxEvidence)
    throw new AnnalsError('wrong_state', 'As much was done to this request as it can keep evidence of.')
  if (facts.outcome !== undefined && !mayRetire(document, facts.target ?? ''))
    throw new AnnalsError(
      'wrong_state',
      'A target is retired where the request has stopped for it: it was removed, or cannot be reached.',
    )
  if (action !== 'extend') return
  const possible = extensionOf(document, at)
  if (possible === 'extended_already') {
    throw new AnnalsError('wrong_state', 'The deadline was extended before; that is possible once.')
  }
  if (possible === 'too_late') {
    throw new AnnalsError('wrong_state', 'An extension is possible within the first month only (Art. 12(3)).')
  }
}

function refusal(code: ActionAnswer['code'], document: ErasureRequestDocument): AnnalsError {
  if (code === 'four_eyes')
    return new AnnalsError(
      'four_eyes',
      'Who submitted the request cannot decide on it; another officer must.',
    )
  const possible = erasureActions.filter((action) => allows(document, action))
  return new AnnalsError(
    'wrong_state',
    `The request is in ${document.state}, and that does not allow this. ` +
      (possible.length === 0
        ? 'Nothing can be done to it any more.'
        : `What it allows: ${possible.join(', ')}.`),
  )
}

/** The validator of the Update said no. */
function isRefusal(error: unknown): boolean {
  return (
    error instanceof WorkflowUpdateFailedError &&
    error.cause instanceof ApplicationFailure &&
    error.cause.type === 'wrong_state'
  )
}

function factsAsJson({ exempt, confirmed, ...rest }: ActionFacts): JsonValue {
  return {
    ...rest,
    ...(exempt === undefined ? {} : { exempt: exempt.map((one) => ({ ...one })) }),
    ...(confirmed === undefined ? {} : { confirmed: [...confirmed] }),
  }
}
