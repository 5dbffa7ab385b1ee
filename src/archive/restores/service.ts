/**
 * Restores as the API offers them: ask for one, list them. The workflow begins first and waits for the request to be
 * written: while Temporal is away nothing is stored, and once the request is there, something carries it out.
 */
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/client'
import type { Db } from 'mongodb'
import { AnnalsError, notFound } from '../../errors.js'
import { canonicalJson } from '../../events/canonical-json.js'
import { newId } from '../../ids.js'
import type { Logger } from '../../logging.js'
import { isTemporalUnavailable, type TemporalConnection } from '../../temporal/client.js'
import { kindAttribute, organizationAttribute, phaseAttribute } from '../../temporal/search-attributes.js'
import { leavesBetween } from '../segment-lookup.js'
import {
  restoreLimits,
  restoreTaskQueue,
  restoreWorkflowId,
  restoreWorkflowType,
  type RestoreReference,
} from './contract.js'
import type { RestoreDocument, RestoreListQuery, RestoreStore } from './store.js'

export interface RestoreBody {
  readonly from: Date
  readonly to: Date
  readonly days: number
  readonly reason: string
}

/** Who asks, for which organization, under which idempotency key if any. */
export interface RestoreRequest {
  readonly organizationId: string
  /** `prn_…` */
  readonly principal: string
  readonly idempotencyKey?: string | undefined
}

export interface RestoreService {
  /**
   * Asks for a restore. The same key with the same body answers the first.
   * @throws AnnalsError `invalid` where the range holds too much, or too many have not ended; `idempotency_conflict`;
   *   `temporal_unavailable` (nothing is stored)
   */
  start(request: RestoreRequest, body: RestoreBody): Promise<{ restore: RestoreDocument; replayed: boolean }>
  /** @throws AnnalsError `not_found` */
  get(reference: RestoreReference): Promise<RestoreDocument>
  /** Newest first; `limit` at most. */
  list(query: RestoreListQuery): Promise<RestoreDocument[]>
}

export interface RestoreServiceDependencies {
  readonly db: Db
  readonly store: RestoreStore
  readonly temporal: Pick<TemporalConnection, 'client' | 'withTimeout'>
  readonly logger: Logger
  /** The id that stands for an idempotency key. */
  readonly deriveId: (organizationId: string, prefix: string, key: string) => Promise<string>
  /** Keyed hash under a secret of the organization's: says whether two values are the same, and nothing else. */
  readonly fingerprint: (organizationId: string, value: string) => Promise<Uint8Array>
  readonly now?: () => Date
}

const temporalTimeoutMs = 5_000
const retryAfterSeconds = 5

export function createRestoreService(deps: RestoreServiceDependencies): RestoreService {
  const { db, store, temporal, logger } = deps
  const now = deps.now ?? (() => new Date())

  async function startWorkflow(reference: RestoreReference): Promise<void> {
    const { organizationId } = reference
    try {
      await temporal.withTimeout(temporalTimeoutMs, () =>
        temporal.client.workflow.start(restoreWorkflowType, {
          workflowId: restoreWorkflowId(reference),
          taskQueue: restoreTaskQueue,
          workflowIdConflictPolicy: 'USE_EXISTING',
          workflowIdReusePolicy: 'REJECT_DUPLICATE',
          args: [reference],
          staticSummary: `Restore archived events of ${organizationId}`,
          typedSearchAttributes: [
            { key: organizationAttribute, value: organizationId },
            { key: kindAttribute, value: 'restore' },
            { key: phaseAttribute, value: 'copying' },
          ],
        }),
      )
    } catch (error) {
      // It waited for its request in vain, long ago: the process that asked for it died.
      if (error instanceof WorkflowExecutionAlreadyStartedError)
        throw new AnnalsError('wrong_state', 'This request was given up; ask again under another key.')
      const fields = { organizationId, error }
      if (isTemporalUnavailable(error)) logger.warn('restores.temporal_away', fields)
      else logger.error('restores.start_refused', fields)
      throw new AnnalsError('temporal_unavailable', 'Nothing was started: Temporal cannot be reached.', {
        retryAfterSeconds,
        cause: error,
      })
    }
  }

  /** @returns the leaves that there are to read */
  async function requireRoom({ organizationId }: RestoreRequest, { from, to }: RestoreBody): Promise<number> {
    const { maxUnended, maxLeaves } = restoreLimits
    if ((await store.countUnended(organizationId)) >= maxUnended)
      throw tooMany('', `at most ${String(maxUnended)} restores at a time`)
    const leaves = await leavesBetween(db, organizationId, from, to)
    if (leaves > maxLeaves) {
      const message = `the archive has ${String(leaves)} leaves to read there, and a restore reads ${String(maxLeaves)}`
      throw tooMany('from', message)
    }
    return leaves
  }

  return {
    async start(request, body) {
      const { organizationId, principal, idempotencyKey } = request
      const restoreId =
        idempotencyKey === undefined
          ? newId('restore')
          : await deps.deriveId(organizationId, 'restore', idempotencyKey)
      const reference = { organizationId, restoreId }
      const bodyFingerprint =
        idempotencyKey === undefined
          ? null
          : Buffer.from(await deps.fingerprint(organizationId, textOf(body)))
      const known = idempotencyKey === undefined ? undefined : await store.find(reference)
      if (known !== undefined) return replay(known, bodyFingerprint)
      const leavesToRead = await requireRoom(request, body)
      await startWorkflow(reference)
      const document: RestoreDocument = {
        _id: `${organizationId}/${restoreId}`,
        ...reference,
        ...body,
        principal,
        state: 'copying',
        requestedAt: now(),
        restoredAt: null,
        expiresAt: null,
        endedAt: null,
        failure: null,
        position: null,
        counts: { leaves: 0, events: 0, bytes: 0 },
        leavesToRead,
        lifecycleSeen: null,
        bodyFingerprint,
      }
      if (await store.insert(document)) return { restore: document, replayed: false }
      const first = await store.find(reference)
      if (first === undefined) throw new Error('a restore that was just written is not there')
      return replay(first, bodyFingerprint)
    },
    async get(reference) {
      const found = await store.find(reference)
      if (found === undefined) throw notFound()
      return found
    },
    list: (query) => store.list(query),
  }
}

function replay(restore: RestoreDocument, fingerprint: Buffer | null) {
  const same = restore.bodyFingerprint !== null && fingerprint?.equals(restore.bodyFingerprint) === true
  if (same) return { restore, replayed: true }
  throw new AnnalsError('idempotency_conflict', 'The idempotency key was used with another body.')
}

const textOf = ({ from, to, days, reason }: RestoreBody) =>
  `restore\0${canonicalJson({ from: from.toISOString(), to: to.toISOString(), days, reason })}`

const tooMany = (path: string, message: string) =>
  new AnnalsError('invalid', 'The request asks for too much; see errors.', {
    errors: [{ path, code: 'too_many', message }],
  })
