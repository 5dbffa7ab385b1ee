/**
 * What a sweep of archiving and one of expiry share: rounds over all organizations, at most 200 segments at once and one
 * of each organization, so that a huge one never keeps others waiting and a slow segment holds up nothing but its own
 * organization. It ends when a whole round finds nothing that it has not looked at. Two sweeps at once do no harm: the
 * workflow of a segment runs once.
 */
import {
  ParentClosePolicy,
  WorkflowIdReusePolicy,
  isCancellation,
  patched,
  setCurrentDetails,
  workflowInfo,
  type ChildWorkflowOptions,
} from '@temporalio/workflow'
import { maxChildren, type ArchiveInput, type RunStep, type SweepPlace } from '../src/retention/contract.js'
import { ChildWindow } from './child-window.js'

/** More organizations that stand still are not told apart: the sweep ends, and the next one looks again. */
const maxFailed = 900
/** A history that has grown long waits so long for what is under way; what takes longer goes on without it. */
const handoverMs = 120_000
/** Where segments end one after the other, a round for each of them would look at all organizations as often. */
const betweenRoundsMs = 5_000
/** Histories of before there was such a time have no timer. */
const roundsApart = 'sweep-rounds-apart'

/** How the activities of a sweep look for what is due. */
export const finding = {
  startToCloseTimeout: '10m',
  heartbeatTimeout: '1m',
  retry: { initialInterval: '1s', backoffCoefficient: 2, maximumInterval: '1m', maximumAttempts: 20 },
} as const

export interface SweepResult {
  /** Organizations that stand still until the next sweep. */
  readonly failed: number
}

export interface Sweep<Segment extends ArchiveInput> {
  /** In the words of operators. */
  readonly name: string
  /** Absent = `maxChildren`, which is also the most. */
  readonly atOnce?: number
  /** Segments that one history starts. Absent = as many as the server suggests. */
  readonly segments?: number | undefined
  /** What is due, one of each organization; `next` goes on after them, null = the round is over. */
  readonly find: (
    after: string | undefined,
  ) => Promise<{ readonly found: readonly Segment[]; readonly next: string | null }>
  /** @returns whether there may be more of this organization in the next round */
  readonly run: (segment: Segment) => Promise<boolean>
  /** Goes on from a place with a new history. Does not return. */
  readonly goOn: (place: Required<Omit<SweepPlace, 'after'>> & SweepPlace) => Promise<never>
}

/** Goes round until nothing moves any more. @param place where an earlier history of the same sweep stopped */
export async function sweepRounds<Segment extends ArchiveInput>(
  sweep: Sweep<Segment>,
  place: SweepPlace,
): Promise<SweepResult> {
  const { name, atOnce = maxChildren, segments } = sweep
  const failed = new Set(place.failed)
  const window = new ChildWindow(Math.min(atOnce, maxChildren))
  let { after, moved = false } = place
  let started = 0
  const show = () => {
    const words = `${String(window.size)} segments under way, ${String(failed.size)} organizations stand still`
    setCurrentDetails(`**${name}**: ${words}`)
  }
  const start = (segment: Segment) => {
    started += 1
    window.start(segment.organizationId, async () => {
      if (await sweep.run(segment)) moved = true
      else failed.add(segment.organizationId)
      show()
    })
  }
  for (;;) {
    await window.room()
    const page = await sweep.find(after)
    for (const segment of page.found) {
      await window.room()
      if (!failed.has(segment.organizationId) && !window.has(segment.organizationId)) start(segment)
    }
    show()
    after = page.next ?? undefined
    const lookedMs = Date.now()
    if (after === undefined) {
      // Another round is worth its while only once something has moved.
      await window.idle(() => moved)
      if (!moved || failed.size > maxFailed) break
      const early = betweenRoundsMs - (Date.now() - lookedMs)
      if (early > 0 && window.size > 0 && patched(roundsApart)) await window.idle(undefined, early)
      moved = false
    }
    const isLong = segments === undefined ? workflowInfo().continueAsNewSuggested : started >= segments
    if (isLong) {
      await window.idle(undefined, handoverMs)
      await sweep.goOn({ ...(after === undefined ? {} : { after }), moved, failed: [...failed] })
    }
  }
  await window.idle()
  return { failed: failed.size }
}

export const showDone = (name: string, { failed }: SweepResult): void => {
  setCurrentDetails(`**${name}**: done; ${String(failed)} organizations stand still`)
}

/** How the workflow of a segment is started by a sweep. */
export const segmentOptions = (
  { organizationId }: ArchiveInput,
  workflowId: string,
  staticSummary: string,
  phase: RunStep,
) =>
  ({
    workflowId,
    // One that needed an operator is taken up again; one that was done finds that it is done.
    workflowIdReusePolicy: WorkflowIdReusePolicy.ALLOW_DUPLICATE,
    parentClosePolicy: ParentClosePolicy.ABANDON,
    staticSummary,
    priority: { fairnessKey: organizationId },
    typedSearchAttributes: [
      { key: { name: 'AnnalsOrganization', type: 'KEYWORD' }, value: organizationId },
      { key: { name: 'AnnalsKind', type: 'KEYWORD' }, value: 'retention' },
      { key: { name: 'AnnalsPhase', type: 'KEYWORD' }, value: phase },
    ],
  }) satisfies ChildWorkflowOptions

/** What a child came to; undefined where it is under way by another sweep, was ended by an operator, or is broken. */
export async function unlessBroken<Result>(child: Promise<Result>): Promise<Result | undefined> {
  try {
    return await child
  } catch (error) {
    if (isCancellation(error)) throw error
    return undefined
  }
}
