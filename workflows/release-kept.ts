/**
 * Erases what holds had kept of persons that are erased, where the holds have ended (src/erasure/releasing.ts): of all
 * organizations once a day, and of one at once when a hold is released. One request that fails stands in no other's way:
 * it is tried again on the next day. A look that lasts goes on in a new history, so that however many wait for their
 * holds, it comes to the last of them.
 */
import {
  ActivityFailure,
  ApplicationFailure,
  CancelledFailure,
  continueAsNew,
  defineSignal,
  proxyActivities,
  setCurrentDetails,
  setHandler,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow'
import {
  holdReleasedSignal,
  type ErasureReference,
  type ReleaseKeptInput,
  type ReleasingActivities,
} from '../src/erasure/contract.js'
import { parseReleaseInput } from '../src/erasure/policy.js'

export interface ReleaseKeptResult {
  /** Of the last history: requests that were looked at, and of these those of which something went. */
  readonly looked: number
  readonly released: number
}

const phaseAttribute = { name: 'AnnalsPhase', type: 'KEYWORD' } as const

const activities = (summary: string) =>
  proxyActivities<ReleasingActivities>({
    startToCloseTimeout: '12h',
    heartbeatTimeout: '2m',
    retry: { initialInterval: '1s', backoffCoefficient: 2, maximumInterval: '2m', maximumAttempts: 10 },
    summary,
  })

export async function releaseKept(input: ReleaseKeptInput): Promise<ReleaseKeptResult> {
  const checked = parseReleaseInput(input)
  if (checked === undefined) throw ApplicationFailure.nonRetryable('not the input of this', 'invalid')
  /** Holds that were released since this began. */
  let told = 0
  setHandler(defineSignal(holdReleasedSignal), () => {
    told += 1
  })
  let looked = 0
  let released = 0
  const failed = new Set<string>()
  const hasFailed = () => failed.size > 0 || checked.failed === true
  const isLong = () =>
    checked.requests === undefined ? workflowInfo().continueAsNewSuggested : looked >= checked.requests
  let after = checked.after ?? null
  let heard: number
  do {
    heard = told
    for (;;) {
      const page: readonly ErasureReference[] = await activities('See what is kept').listKept(checked, after)
      for (const request of page) {
        looked += 1
        if (await releaseOne(request, failed)) released += 1
        setCurrentDetails(
          `**Exceptions that ended**: ${String(looked)} requests looked at, of ${String(released)} something went` +
            (failed.size === 0 ? '' : `; failed: ${[...failed].join(', ')}`),
        )
      }
      after = page.at(-1) ?? null
      if (after === null) break
      if (isLong()) await goOn(checked, told > heard ? null : after, hasFailed())
    }
  } while (told > heard)
  upsertSearchAttributes([{ key: phaseAttribute, value: hasFailed() ? 'failed' : 'done' }])
  if (hasFailed()) throw ApplicationFailure.nonRetryable('of some requests nothing went', 'releases_failed')
  return { looked, released }
}

/** Does not return. @param after null = a hold was released meanwhile: from the first again */
function goOn(
  { organizationId, requests }: ReleaseKeptInput,
  after: ErasureReference | null,
  failed: boolean,
): Promise<never> {
  return continueAsNew<typeof releaseKept>({
    organizationId,
    ...(after === null ? {} : { after }),
    ...(failed ? { failed } : {}),
    ...(requests === undefined ? {} : { requests }),
  })
}

async function releaseOne(request: ErasureReference, failed: Set<string>): Promise<boolean> {
  try {
    const { result } = await activities('Erase what nothing keeps any more').releaseKeptOf(request)
    failed.delete(request.requestId)
    return result !== 'nothing'
  } catch (error) {
    if (!(error instanceof ActivityFailure) || error.cause instanceof CancelledFailure) throw error
    failed.add(request.requestId)
    return false
  }
}
