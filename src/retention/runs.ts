/**
 * Runs of retention in MongoDB (`retentionRuns`): what was archived, expired and restored, one row a range, for whoever
 * asks what happened to an organization's events, and where something needs an operator. Workflows write it; it is a
 * report and decides nothing: the segments, the hot store and the log are what is true. So rows go again: what went well
 * after a quarter, or once ten thousand newer ones are there; what did not after a year; what waits for somebody, never.
 */
import { createHash } from 'node:crypto'
import type { Collection, Db, Filter } from 'mongodb'
import { idFromDigest } from '../ids.js'
import { collectionNames } from '../mongo/collections.js'
import type { RunBytes, RunCounts, RunKind, RunReason, RunState, RunStep, StepProgress } from './contract.js'

export interface RetentionRunDocument {
  /** `<organizationId>/<runId>` */
  readonly _id: string
  readonly organizationId: string
  /** `run_…` */
  readonly runId: string
  readonly kind: RunKind
  /** Of leaves; null for a restore, which is of a stretch of time. */
  readonly generation: number | null
  /** First leaf, and the leaf after the last. */
  readonly from: number | null
  readonly to: number | null
  readonly state: RunState
  /** What it is at, or stopped at. */
  readonly step: RunStep
  /** How far that step is; null where it has not said so yet, and at the end. */
  readonly progress: StepProgress | null
  readonly counts: RunCounts
  readonly bytes: RunBytes
  /** Why it needs an operator; null otherwise. */
  readonly reason: RunReason | null
  readonly workflowId: string
  readonly startedAt: Date
  readonly updatedAt: Date
  readonly finishedAt: Date | null
  /** When MongoDB takes the row away; null while somebody has to act on it. */
  readonly goneAt: Date | null
}

export interface RunStart {
  readonly organizationId: string
  readonly kind: RunKind
  readonly generation: number | null
  readonly from: number | null
  readonly to: number | null
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
  /** In the archive: read back and found right before anything was deleted. */
  readonly verifiedBytes: number
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
  /**
   * Says where a run is. A run that has ended stays as it ended, but for one that needed an operator and goes on.
   * @returns how far the step before came
   */
  progress(
    organizationId: string,
    runId: string,
    progress: RunProgress,
    at: Date,
  ): Promise<StepProgress | undefined>
  /** Says how far the step is that a running run is at. */
  advance(organizationId: string, runId: string, progress: StepProgress, at: Date): Promise<void>
  /** Ends a run; the first end stands. @returns how far its last step came */
  finish(
    organizationId: string,
    runId: string,
    progress: RunProgress,
    at: Date,
  ): Promise<StepProgress | undefined>
  /** Ends a run that was given up. */
  fail(
    organizationId: string,
    runId: string,
    reason: RunReason,
    progress: RunProgress,
    at: Date,
  ): Promise<void>
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
  find(organizationId: string, runId: string): Promise<RetentionRunDocument | undefined>
  /** Newest first by start, then id. */
  list(query: RunListQuery): Promise<RetentionRunDocument[]>
}

const maxCounted = 10_000
const dayMs = 86_400_000
/** A report of what went well is read for a quarter, one of what did not for longer than a year. */
export const runLimits = { doneDays: 90, otherDays: 400, maxDone: 10_000 } as const

const daysAfter = (at: Date, days: number) => new Date(at.getTime() + days * dayMs)
const needsOperatorIndex = 'needsOperator'
const doneIndex = 'done'

const runKey = (organizationId: string, runId: string) => `${organizationId}/${runId}`

/** The id of an execution's row: the same for the same execution, so that an activity may be tried again. */
export const runIdOf = (workflowId: string, execution: string): string =>
  idFromDigest('run', createHash('sha256').update(`${workflowId}\0${execution}`).digest())

/** @param maxDone rows of runs that went well, of one organization */
export function createRunStore(db: Db, { maxDone }: { readonly maxDone: number } = runLimits): RunStore {
  const runs: Collection<RetentionRunDocument> = db.collection(collectionNames.retentionRuns)

  const totals = new Map<RunKind, RunTotals>()

  function count(kind: RunKind, { counts = {}, bytes = {} }: RunProgress): void {
    const before = totals.get(kind) ?? { runs: 0, leaves: 0, archivedBytes: 0, verifiedBytes: 0 }
    totals.set(kind, {
      runs: before.runs + 1,
      leaves: before.leaves + (counts.leaves ?? 0),
      archivedBytes: before.archivedBytes + (bytes.archived ?? 0),
      verifiedBytes: before.verifiedBytes + (bytes.verified ?? 0),
    })
  }

  /** @returns the row as it was before; null where it has ended */
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
      { returnDocument: 'before' },
    )
  }

  /** An organization that archives each minute has more good news than anybody reads: the oldest goes. */
  async function prune(organizationId: string): Promise<void> {
    const done = { organizationId, state: 'done' } as const
    const order = { sort: { startedAt: -1, runId: -1 }, projection: { startedAt: 1 } } as const
    const oldest = await runs.findOne(done, { ...order, skip: maxDone, hint: doneIndex })
    if (oldest !== null)
      await runs.deleteMany({ ...done, startedAt: { $lte: oldest.startedAt } }, { hint: doneIndex })
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
        progress: null,
        counts: {},
        bytes: {},
        reason: null,
        startedAt: at,
        updatedAt: at,
        finishedAt: null,
        // One that was terminated in Temporal says so to nobody.
        goneAt: daysAfter(at, runLimits.otherDays),
      }
      await runs.updateOne({ _id }, { $setOnInsert: document }, { upsert: true })
      const { organizationId, workflowId } = start
      await runs.updateMany(
        { organizationId, workflowId, state: 'needs_operator', _id: { $ne: _id } },
        {
          $set: {
            state: 'superseded',
            updatedAt: at,
            finishedAt: at,
            goneAt: daysAfter(at, runLimits.otherDays),
          },
        },
      )
      return runId
    },
    async progress(organizationId, runId, progress, at) {
      const before = await change(organizationId, runId, progress, {
        state: 'running',
        reason: null,
        updatedAt: at,
        goneAt: daysAfter(at, runLimits.otherDays),
        ...(progress.step === undefined ? {} : { progress: null }),
      })
      return before?.progress ?? undefined
    },
    async advance(organizationId, runId, progress, at) {
      await runs.updateOne(
        { _id: runKey(organizationId, runId), state: 'running' },
        { $set: { progress, updatedAt: at } },
      )
    },
    async finish(organizationId, runId, progress, at) {
      const before = await change(organizationId, runId, progress, {
        state: 'done',
        progress: null,
        reason: null,
        updatedAt: at,
        finishedAt: at,
        goneAt: daysAfter(at, runLimits.doneDays),
      })
      if (before === null) return undefined
      count(before.kind, { ...before, ...progress })
      await prune(organizationId)
      return before.progress ?? undefined
    },
    async fail(organizationId, runId, reason, progress, at) {
      const goneAt = daysAfter(at, runLimits.otherDays)
      const end = { state: 'failed', reason, updatedAt: at, finishedAt: at, goneAt } as const
      await change(organizationId, runId, progress, end)
    },
    async needOperator(organizationId, runId, reason, progress, at) {
      const stopped = { state: 'needs_operator', reason, updatedAt: at, goneAt: null } as const
      await change(organizationId, runId, progress, stopped)
    },
    countNeedingOperator: () =>
      runs.countDocuments({ state: 'needs_operator' }, { limit: maxCounted, hint: needsOperatorIndex }),
    totals: () => totals,
    find: async (organizationId, runId) =>
      (await runs.findOne({ _id: runKey(organizationId, runId) })) ?? undefined,
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
    {
      key: { organizationId: 1, state: 1, startedAt: -1, runId: -1 },
      name: doneIndex,
    },
    // A report may go by the clock of the database: nothing is decided by it.
    { key: { goneAt: 1 }, name: 'gone', expireAfterSeconds: 0 },
  ])
}
