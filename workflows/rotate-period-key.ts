/**
 * A rotation of the period key (src/key-rotation/contract.ts): started by a Schedule, or by an operator. Where a step does
 * not succeed the workflow fails with the reason as its type; nothing is lost by that, and the next one goes on.
 */
import {
  ApplicationFailure,
  proxyActivities,
  setCurrentDetails,
  sleep,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow'
import type { RotationActivities } from '../activities/rotation.js'
import {
  leftOf,
  maxPasses,
  permanentReasons,
  type RotationInput,
  type RotationResult,
} from '../src/key-rotation/contract.js'

const steps = (summary: string) =>
  proxyActivities<RotationActivities>({
    startToCloseTimeout: '12h',
    heartbeatTimeout: '1m',
    retry: {
      initialInterval: '1s',
      backoffCoefficient: 2,
      maximumInterval: '2m',
      maximumAttempts: 20,
      nonRetryableErrorTypes: [...permanentReasons],
    },
    summary,
  })

/** Keys that came in while they were counted are wrapped anew within the same minute. */
const pauseMs = 10_000

export async function rotatePeriodKey({ overlapMs }: RotationInput): Promise<RotationResult> {
  const show = (phase: string, details: string) => {
    upsertSearchAttributes([{ key: { name: 'AnnalsPhase', type: 'KEYWORD' }, value: phase }])
    setCurrentDetails(`**Period key rotation**: ${details}`)
  }
  show('begun', 'a new key is made')
  const { period } = await steps('Make the next period key').beginRotation(workflowInfo().runId)
  const named = `period ${String(period)}`
  show('switching', `${named} becomes the current one, and leases run out`)
  await steps('Switch to it, and wait out every lease').switchPeriod(period)

  let rewrapped = 0
  async function rewrapAll(): Promise<void> {
    for (let pass = 1; ; pass += 1) {
      show('rewrapping', `${named} is current; pass ${String(pass)}, ${String(rewrapped)} keys wrapped anew`)
      rewrapped += (await steps('Wrap anew what is left').rewrapKeys()).rewrapped
      const left = leftOf(await steps('Count what is left').countKeysLeft())
      if (left === 0) return
      if (pass === maxPasses)
        throw ApplicationFailure.nonRetryable(`${String(left)} keys are left`, 'keys_left')
      await sleep(pauseMs)
    }
  }
  await rewrapAll()

  if (overlapMs > 0) {
    show('overlap', `${named} is current; earlier keys are kept for backups until their time is over`)
    await sleep(overlapMs)
  }
  show('removing', `${named} is current; earlier keys are counted once more, and deleted`)
  for (let attempt = 1; ; attempt += 1) {
    const { removed, left } = await steps('Delete earlier period keys').removePeriods(overlapMs)
    if (left === 0) {
      show('done', `${named} is current; deleted: ${removed.map(String).join(', ') || 'none'}`)
      return { period, rewrapped, removed }
    }
    // A process slept through the switch, and has woken since.
    if (attempt === maxPasses)
      throw ApplicationFailure.nonRetryable(`${String(left)} keys are left`, 'keys_left')
    await rewrapAll()
  }
}
