/**
 * Runs of retention in MongoDB (`retentionRuns`): what was archived, expired and restored, one row a range, for whoever
 * asks what happened to an organization's events, and where something needs an operator. Workflows write it; it is a
 * report and decides nothing: the segments, the hot store and the log are what is true.
 */
import { createHash } from 'node:crypto'
import type { Collection, Db, Filter } from 'mongodb'
import { idFromDigest } from '../ids.js'
import { collectionNames } from '../mongo/collections.js'
import type { RunBytes, RunCounts, RunKind, RunReason, RunState, RunStep } from './contract.js'

export interface RetentionRunDocument {
  /** `<organizationId>/<runId>` */
  readonly _id: string
  readonly organizationId: string
  /** `run_…` */
  readonly runId: string
  readonly kind: RunKind
  readonly generation: number
  /** First leaf, and the leaf after the last. */
  readonly from: number
  readonly to: number
  readonly state: RunState
  /** What it is at, or stopped at. */
  readonly step: RunStep
  readonly counts: RunCounts
  readonly bytes: RunBytes
  /** Why it needs an operator; null otherwise. */
  readonly reason: RunReason | null
  readonly workflowId: string
  readonly startedAt: Date
  readonly updatedAt: Date
  readonly finishedAt: Date | null
}

export interface RunStart {
  readonly organizationId: string
  readonly kind: RunKind
  readonly generation: number
  readonly from: number
  readonly to: number
  readonly workflowId: string
  /** Temporal's run id: the same range may be tried again by a later execution, which is a row of its own. */
  readonly execution: string
  readonly step: RunStep
  readonly at: Date
}

/** What changes as a run goes on; absent members stay. */
export interface RunProgress {
  readonly step?: RunStep
  readonly counts?: RunCounts
  readonly bytes?: RunBytes
}

/** What ended runs of one kind have done. */
export interface RunTotals {
  readonly runs: number
  readonly leaves: number
  /** In the archive: written, or expired. */
  readonly archivedBytes: number
}

export interface RunPosition {
  readonly startedAt: Date
  readonly runId: string
}

export interface RunListQuery {
  readonly organizationId: string
  readonly kind?: RunKind | undefined
  readonly state?: RunState | undefined
  readonly after?: RunPosition | undefined
  readonly limit: number
}

export interface RunStore {
  /**
   * Writes the row of an execution, once however often it is tried. An earlier execution of the same workflow that
   * needed an operator needs nobody any more. @returns `run_…`
   */
  begin(start: RunStart): Promise<string>
  /** Says where a run is. A run that has ended stays as it ended, but for one that needed an operator and goes on. */
  progress(organizationId: string, runId: string, progress: RunProgress, at: Date): Promise<void>
  /** Ends a run; the first end stands. */
  finish(organizationId: string, runId: string, progress: RunProgress, at: Date): Promise<void>
  /** Says that a run stands still until somebody acts, and why. */
  needOperator(
    organizationId: string,
    runId: string,
    reason: RunReason,
    progress: RunProgress,
    at: Date,
  ): Promise<void>
  /** Those of all organizations that need an operator, counted up to 10,000. */
  countNeedingOperator(): Promise<number>
  /** What runs of this process did that ended since it started, by kind. */
  totals(): ReadonlyMap<RunKind, RunTotals>
  /** Newest first by start, then id. */
  list(query: RunListQuery): Promise<RetentionRunDocument[]>
}

const maxCounted = 10_000
const needsOperatorIndex = 'needsOperator'

const runKey = (organizationId: string, runId: string) => `${organizationId}/${runId}`

/** The id of an execution's row: the same for the same execution, so that an activity may be tried again. */
export const runIdOf = (workflowId: string, execution: string): string =>
  idFromDigest('run', createHash('sha256').update(`${workflowId}\0${execution}`).digest())

export function createRunStore(db: Db): RunStore {
  const runs: Collection<RetentionRunDocument> = db.collection(collectionNames.retentionRuns)

  const totals = new Map<RunKind, RunTotals>()

  function count({ kind, counts, bytes }: RetentionRunDocument): void {
    const before = totals.get(kind) ?? { runs: 0, leaves: 0, archivedBytes: 0 }
    totals.set(kind, {
      runs: before.runs + 1,
      leaves: before.leaves + (counts.leaves ?? 0),
      archivedBytes: before.archivedBytes + (bytes.archived ?? 0),
    })
  }

  async function change(
    organizationId: string,
    runId: string,
    { step, counts, bytes }: RunProgress,
    rest: Partial<RetentionRunDocument>,
  ): Promise<RetentionRunDocument | null> {
    const set = {
      ...(step === undefined ? {} : { step }),
      ...(counts === undefined ? {} : { counts }),
      ...(bytes === undefined ? {} : { bytes }),
      ...rest,
    }
    return runs.findOneAndUpdate(
      { _id: runKey(organizationId, runId), finishedAt: null },
      { $set: set },
      { returnDocument: 'after' },
    )
  }

  return {
    async begin({ execution, at, ...start }) {
      const runId = runIdOf(start.workflowId, execution)
      const _id = runKey(start.organizationId, runId)
      const document: RetentionRunDocument = {
        ...start,
        _id,
        runId,
        state: 'running',
        counts: {},
        bytes: {},
        reason: null,
        startedAt: at,
        updatedAt: at,
        finishedAt: null,
      }
      await runs.updateOne({ _id }, { $setOnInsert: document }, { upsert: true })
      const { organizationId, workflowId } = start
      await runs.updateMany(
        { organizationId, workflowId, state: 'needs_operator', _id: { $ne: _id } },
        { $set: { state: 'superseded', updatedAt: at, finishedAt: at } },
      )
      return runId
    },
    async progress(organizationId, runId, progress, at) {
      await change(organizationId, runId, progress, { state: 'running', reason: null, updatedAt: at })
    },
    async finish(organizationId, runId, progress, at) {
      const end = { state: 'done', reason: null, updatedAt: at, finishedAt: at } as const
      const ended = await change(organizationId, runId, progress, end)
      if (ended !== null) count(ended)
    },
    async needOperator(organizationId, runId, reason, progress, at) {
      await change(organizationId, runId, progress, { state: 'needs_operator', reason, updatedAt: at })
    },
    countNeedingOperator: () =>
      runs.countDocuments({ state: 'needs_operator' }, { limit: maxCounted, hint: needsOperatorIndex }),
    totals: () => totals,
    list({ organizationId, kind, state, after, limit }) {
      const filter: Filter<RetentionRunDocument> = {
        organizationId,
        ...(kind === undefined ? {} : { kind }),
        ...(state === undefined ? {} : { state }),
        ...(after === undefined
          ? {}
          : {
              $or: [
                { startedAt: { $lt: after.startedAt } },
                { startedAt: after.startedAt, runId: { $lt: after.runId } },
              ],
            }),
      }
      return runs.find(filter).sort({ startedAt: -1, runId: -1 }).limit(limit).toArray()
    },
  }
}

/** Creates the indexes of runs; safe to repeat. */
export async function ensureRunIndexes(db: Db): Promise<void> {
  await db.collection<RetentionRunDocument>(collectionNames.retentionRuns).createIndexes([
    { key: { organizationId: 1, startedAt: -1, runId: -1 }, name: 'newestFirst' },
    {
      key: { organizationId: 1, workflowId: 1 },
      name: needsOperatorIndex,
      partialFilterExpression: { state: 'needs_operator' },
    },
  ])
}
