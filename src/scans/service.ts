/**
 * Scans as the API offers them: start, progress, end, read.
 *
 * A start begins with the workflow: while Temporal is away nothing is stored, and once the workflow is there,
 * the scan and its start event will be, whichever process dies. An end begins with the document: the first write wins, and the
 * workflow is told afterwards; if it never hears of it, it finds the end in the document when it next looks.
 */
import { WorkflowExecutionAlreadyStartedError, WorkflowNotFoundError } from '@temporalio/client'
import { AnnalsError, notFound } from '../errors.js'
import { canonicalJson } from '../events/canonical-json.js'
import type { JsonObject, JsonValue } from '../events/contract.js'
import { newId } from '../ids.js'
import type { Logger } from '../logging.js'
import { isTemporalUnavailable, type TemporalConnection } from '../temporal/client.js'
import {
  deadlineAttribute,
  kindAttribute,
  organizationAttribute,
  phaseAttribute,
} from '../temporal/search-attributes.js'
import * as contract from './contract.js'
import type { ScanReference } from './contract.js'
import { scanTiming } from './policy.js'
import type { ScanRecorder } from './recorder.js'
import { scanKey, type ScanDocument, type ScanListQuery, type ScanStore } from './store.js'
import { detailOf, startViewOf, viewOf, type ScanDetail, type ScanView } from './view.js'

export interface StartScan {
  readonly engine: string
  readonly expectedWithinMs: number
  readonly progressTimeoutMs: number | null
  readonly metadata: JsonObject
}

export interface ReportProgress {
  readonly percent?: number | undefined
  readonly message?: string | undefined
  readonly counts?: contract.Counts | undefined
}

export interface EndScan {
  readonly status: contract.FinalStatus
  readonly outcome: contract.ScanOutcome
  readonly counts?: contract.Counts | undefined
  readonly link?: string | undefined
  readonly findings?: JsonValue | undefined
  readonly reason?: string | undefined
}

/** Who asks, for which organization, under which idempotency key if any. */
export interface ScanRequest {
  readonly organizationId: string
  /** `prn_…` */
  readonly principal: string
  readonly idempotencyKey?: string | undefined
}

export interface ScanServiceDependencies {
  readonly store: ScanStore
  readonly recorder: ScanRecorder
  readonly temporal: Pick<TemporalConnection, 'client' | 'withTimeout'>
  readonly logger: Logger
  /** The id that stands for an idempotency key: the same for the same organization, prefix and key. */
  readonly deriveId: (organizationId: string, prefix: string, key: string) => Promise<string>
  /** Keyed hash under a secret of the organization's: says whether two values are the same, and nothing else. */
  readonly fingerprint: (organizationId: string, value: string) => Promise<Uint8Array>
  readonly now?: () => Date
  /** How long the workflow waits for the API before it writes the start itself. For tests. */
  readonly graceMs?: number
  /** For tests: how long a timed-out scan's workflow stays open. */
  readonly lateWindowMs?: number
}

const temporalTimeoutMs = 5_000
const retryAfterSeconds = 5
/** At most one signal of progress a second for each scan; what lies between is in MongoDB only. */
const progressSignalEveryMs = 1_000

export type ScanService = ReturnType<typeof createScanService>

export function createScanService(deps: ScanServiceDependencies) {
  const { store, recorder, temporal, logger } = deps
  const now = deps.now ?? (() => new Date())
  const handleOf = (organizationId: string, scanId: string) =>
    temporal.client.workflow.getHandle(contract.scanWorkflowId(organizationId, scanId))

  async function fingerprint(organizationId: string, purpose: string, value: JsonValue): Promise<Buffer> {
    return Buffer.from(await deps.fingerprint(organizationId, `${purpose}\0${canonicalJson(value)}`))
  }

  async function find(organizationId: string, scanId: string): Promise<ScanDocument> {
    const document = await store.find(organizationId, scanId)
    if (document === null) throw notFound()
    return document
  }

  /**
   * Starts the workflow, or finds the one that an earlier attempt under the same idempotency key started.
   * @returns what the workflow was started with: its moment of start is the scan's
   */
  async function startWorkflow(scan: ScanReference, repeatable: boolean): Promise<ScanReference> {
    const workflowId = contract.scanWorkflowId(scan.organizationId, scan.scanId)
    try {
      return await temporal.withTimeout(temporalTimeoutMs, async () => {
        await temporal.client.workflow
          .start(contract.scanWorkflowType, {
            workflowId,
            taskQueue: contract.scanTaskQueue,
            workflowIdConflictPolicy: 'USE_EXISTING',
            workflowIdReusePolicy: 'REJECT_DUPLICATE',
            args: [{ scan, ...(deps.graceMs === undefined ? {} : { graceMs: deps.graceMs }) }],
            memo: { scan },
            staticSummary: `Scan by ${scan.engine} for ${scan.organizationId}`,
            typedSearchAttributes: [
              { key: organizationAttribute, value: scan.organizationId },
              { key: kindAttribute, value: 'scan' },
              { key: phaseAttribute, value: 'running' },
              { key: deadlineAttribute, value: new Date(contract.scanDeadline(scan)) },
            ],
          })
          .catch((error: unknown) => {
            if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error
          })
        if (!repeatable) return scan
        // An id made from a key may have been started before: by a request whose process died, or by one beside us.
        const { memo } = await handleOf(scan.organizationId, scan.scanId).describe()
        return contract.parseScanReference(memo?.['scan']) ?? scan
      })
    } catch (error) {
      const fields = { organizationId: scan.organizationId, error }
      // The rest is ours to mend, such as a namespace without its search attributes: `annals setup`.
      if (isTemporalUnavailable(error)) logger.warn('scans.temporal_away', fields)
      else logger.error('scans.start_refused', fields)
      throw new AnnalsError('temporal_unavailable', 'The scan was not started: Temporal cannot be reached.', {
        retryAfterSeconds,
        cause: error,
      })
    }
  }

  /** Tells the workflow of an end that is stored already; where it cannot be told, writes what it would have. */
  async function announceEnd(document: ScanDocument): Promise<void> {
    const { organizationId, scanId, end } = document
    if (end === null || document.finishedEventId !== null) return
    const reference = end.findingsId === null ? {} : { findingsId: end.findingsId }
    const handle = handleOf(organizationId, scanId)
    try {
      await temporal.withTimeout(temporalTimeoutMs, () => {
        if (end.status === 'finished') {
          const signal: contract.FinishSignal = { outcome: end.outcome, ...reference }
          return handle.signal(contract.finishSignal, signal)
        }
        const name = end.status === 'failed' ? contract.failSignal : contract.cancelSignal
        return handle.signal(name, reference)
      })
    } catch (error) {
      // Closed since its late window passed, or Temporal is away: the end is stored and its event is due.
      if (!(error instanceof WorkflowNotFoundError)) logger.warn('scans.end_not_signalled', { scanId, error })
      await recorder.conclude(recorder.referenceOf(document), null)
    }
  }

  return {
    /**
     * Starts a scan.
     * @returns the scan as it started, and whether an earlier request under the same key had started it
     * @throws AnnalsError `temporal_unavailable` (nothing is stored) | `idempotency_conflict` | `unavailable`
     */
    async start(request: ScanRequest, body: StartScan): Promise<{ scan: ScanView; replayed: boolean }> {
      const { organizationId, principal, idempotencyKey } = request
      const bodyFingerprint =
        idempotencyKey === undefined
          ? null
          : await fingerprint(organizationId, 'scan/start', { ...body, metadata: body.metadata })
      const scanId =
        idempotencyKey === undefined
          ? newId('scan')
          : await deps.deriveId(organizationId, 'scan', idempotencyKey)

      const known = idempotencyKey === undefined ? null : await store.find(organizationId, scanId)
      if (known !== null && known.principal !== null) return replay(known, bodyFingerprint)

      const asked: ScanReference = {
        organizationId,
        scanId,
        engine: body.engine,
        startedAt: now().toISOString(),
        expectedWithinMs: body.expectedWithinMs,
        progressTimeoutMs: body.progressTimeoutMs,
        lateWindowMs: deps.lateWindowMs ?? scanTiming.lateWindowMs,
      }
      const scan = await startWorkflow(asked, idempotencyKey !== undefined)
      // What the workflow holds was started under this key; its free-form metadata is nowhere to be compared.
      if (
        scan.engine !== asked.engine ||
        scan.expectedWithinMs !== asked.expectedWithinMs ||
        scan.progressTimeoutMs !== asked.progressTimeoutMs
      ) {
        throw conflict()
      }
      const metadataJson = JSON.stringify(body.metadata)
      const details = { principal, metadataJson, bodyFingerprint }
      const { document, created } = await recorder.ensureStarted(scan, details)
      return created ? { scan: startViewOf(document), replayed: false } : replay(document, bodyFingerprint)
    },

    /**
     * Takes a report of progress.
     * @throws AnnalsError `not_found` | `already_finished`
     */
    async progress(request: ScanRequest, scanId: string, report: ReportProgress): Promise<ScanView> {
      const { organizationId } = request
      const at = now()
      const stored = await recorder.recordProgress(organizationId, scanId, {
        percent: report.percent ?? null,
        counts: report.counts ?? null,
        message: report.message ?? null,
        at,
      })
      const document = await find(organizationId, scanId)
      if (!stored) throw alreadyFinished()
      if (await store.takeProgressSignal(organizationId, scanId, at, progressSignalEveryMs)) {
        const signal: contract.ProgressSignal = {
          ...(report.percent === undefined ? {} : { percent: report.percent }),
          ...(report.counts === undefined ? {} : { counts: report.counts }),
          recorded: true,
        }
        // The report is stored; the workflow reads it there before it calls a scan stalled.
        await temporal
          .withTimeout(temporalTimeoutMs, () =>
            handleOf(organizationId, scanId).signal(contract.progressSignal, signal),
          )
          .catch((error: unknown) => logger.debug('scans.progress_not_signalled', { scanId, error }))
      }
      return viewOf(document)
    },

    /**
     * Ends a scan: the first end wins. The same body again, or the same idempotency key, is answered again.
     * @throws AnnalsError `not_found` | `already_finished`
     */
    async end(request: ScanRequest, scanId: string, body: EndScan): Promise<ScanView> {
      const { organizationId, principal, idempotencyKey } = request
      const at = now()
      const bodyFingerprint = await fingerprint(organizationId, 'scan/end', asJson(body))
      const keyFingerprint =
        idempotencyKey === undefined
          ? null
          : await fingerprint(organizationId, 'scan/end-key', idempotencyKey)
      const freeForm = body.findings !== undefined || body.reason !== undefined
      const findingsId = freeForm ? newId('findings') : null

      await recorder.claimEnd(
        organizationId,
        scanId,
        {
          status: body.status,
          outcome: body.outcome,
          at,
          counts: body.counts ?? null,
          link: body.link ?? null,
          findingsId,
          principal,
          bodyFingerprint,
          keyFingerprint,
        },
        findingsId === null
          ? null
          : {
              _id: scanKey(organizationId, findingsId),
              organizationId,
              scanId,
              at,
              findingsJson: body.findings === undefined ? null : JSON.stringify(body.findings),
              reason: body.reason ?? null,
            },
      )
      const document = await find(organizationId, scanId)
      const { end } = document
      const ours =
        end !== null &&
        (same(end.bodyFingerprint, bodyFingerprint) || same(end.keyFingerprint, keyFingerprint))
      if (!ours) throw alreadyFinished()
      await announceEnd(document)
      return viewOf(document)
    },

    /** @throws AnnalsError `not_found` */
    async get(organizationId: string, scanId: string): Promise<ScanDetail> {
      const document = await find(organizationId, scanId)
      const findingsId = document.end?.findingsId ?? null
      return detailOf(
        document,
        findingsId === null ? null : await store.findFindings(organizationId, findingsId),
      )
    },

    /** Newest first by start, then id; `limit` at most. */
    async list(query: ScanListQuery): Promise<ScanView[]> {
      return (await store.list(query)).map(viewOf)
    },
  }

  /** The answer to a repeat; also finishes what the first request's process may have died over. */
  async function replay(
    known: ScanDocument,
    bodyFingerprint: Buffer | null,
  ): Promise<{ scan: ScanView; replayed: boolean }> {
    if (!same(known.bodyFingerprint, bodyFingerprint)) throw conflict()
    return { scan: startViewOf(await recorder.writeStarted(known)), replayed: true }
  }
}

function same(a: Buffer | null, b: Buffer | null): boolean {
  return a !== null && b !== null && a.equals(b)
}

function conflict(): AnnalsError {
  return new AnnalsError('idempotency_conflict', 'The idempotency key was used with another body.')
}

function alreadyFinished(): AnnalsError {
  return new AnnalsError('already_finished', 'The scan has ended already.')
}

function asJson(body: EndScan): JsonValue {
  return {
    status: body.status,
    outcome: body.outcome,
    counts: body.counts === undefined ? null : { ...body.counts },
    link: body.link ?? null,
    findings: body.findings ?? null,
    reason: body.reason ?? null,
  }
}
