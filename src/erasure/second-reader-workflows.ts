/**
 * The second reader over Temporal: every run of every workflow of an organization that Temporal still keeps, its history
 * with the payloads opened, and what visibility shows of it. Nothing of a person is ever meant to be there; this looks.
 *
 * What is found cannot be taken out of a history: it is there until the namespace's retention is over, or until an operator
 * deletes the run. A run that began after the cut-off is about a new subject.
 */
import { WorkflowNotFoundError } from '@temporalio/client'
import type { Payload } from '@temporalio/common'
import { isTemporalUnavailable, type TemporalConnection } from '../temporal/client.js'
import { openPayload } from '../temporal/codec.js'
import { findsAny, needlesOf, type Searched } from './needles.js'
import type { ReadPlace } from './second-reader.js'
import { TargetError } from './targets/contract.js'

/** One run of a workflow. */
export interface WorkflowRun {
  readonly startedAt: Date
  /** What visibility shows of it, as Latin-1. */
  readonly shown: string
  /** Its history, payloads opened, as Latin-1; undefined where it is gone meanwhile. */
  history(): Promise<string | undefined>
}

/** The runs of an organization that Temporal keeps. */
export type WorkflowRuns = (organizationId: string) => AsyncIterable<WorkflowRun>

export interface WorkflowReading {
  readonly organizationId: string
  readonly identifiers: readonly Searched[]
  /** The moment of the cut-off; undefined = everything is read. */
  readonly until: Date | undefined
  readonly onRead: (place: ReadPlace) => void
  readonly beat: () => void
}

/** Reads every run. @returns the places where something is left @throws TargetError where Temporal cannot be reached */
export async function readWorkflows(
  runs: WorkflowRuns,
  { organizationId, identifiers, until, onRead, beat }: WorkflowReading,
): Promise<ReadonlySet<'workflow_histories' | 'visibility'>> {
  const needles = identifiers.flatMap(needlesOf)
  const left = new Set<'workflow_histories' | 'visibility'>()
  let read = 0
  let histories = 0
  try {
    for await (const run of runs(organizationId)) {
      beat()
      if (until !== undefined && run.startedAt > until) continue
      read += 1
      if (findsAny(needles, run.shown)) left.add('visibility')
      const history = await run.history()
      if (history === undefined) continue
      histories += 1
      if (findsAny(needles, history)) left.add('workflow_histories')
    }
  } catch (error) {
    if (!isTemporalUnavailable(error)) throw error
    throw new TargetError('workflow_histories', 'target_unavailable', { cause: error })
  }
  onRead({ kind: 'visibility', name: 'visibility', read })
  onRead({ kind: 'workflow_histories', name: 'workflow_histories', read: histories })
  return left
}

/** The runs as Temporal's own API lists them. */
export function createWorkflowRuns({
  client,
  codecKeys,
  namespace,
}: Pick<TemporalConnection, 'client' | 'codecKeys' | 'namespace'>): WorkflowRuns {
  const open = (payload: Payload) => openPayload(payload, codecKeys, namespace)
  return async function* (organizationId) {
    // An organization's id has no character that means anything in a query.
    const query = `AnnalsOrganization = "${organizationId}"`
    for await (const { workflowId, runId, startTime, raw } of client.workflow.list({ query })) {
      yield {
        startedAt: startTime,
        shown: textOf(raw, open),
        async history() {
          try {
            return textOf(await client.workflow.getHandle(workflowId, runId).fetchHistory(), open)
          } catch (error) {
            if (error instanceof WorkflowNotFoundError) return undefined
            throw error
          }
        },
      }
    }
  }
}

/** Every text and every byte in a message of Temporal's API, as Latin-1; encrypted payloads opened. */
export function textOf(message: unknown, open: (payload: Payload) => Payload): string {
  const parts: string[] = []
  const add = (value: unknown): void => {
    if (typeof value === 'string') parts.push(Buffer.from(value).toString('latin1'))
    else if (value instanceof Uint8Array) parts.push(Buffer.from(value).toString('latin1'))
    else if (Array.isArray(value)) value.forEach(add)
    else if (typeof value === 'object' && value !== null) {
      const { metadata, data } = isPayload(value) ? open(value) : { metadata: value, data: undefined }
      for (const [name, member] of Object.entries(metadata ?? {})) {
        add(name)
        add(member)
      }
      add(data)
    }
  }
  add(message)
  return parts.join('\n')
}

const isPayload = (value: object): value is Payload =>
  'metadata' in value && 'data' in value && value.data instanceof Uint8Array
