/**
 * Sealing of one partition, for ever: one activity after the other, each of which seals for some minutes. The workflow
 * knows nothing of events; it is what starts the next turn when a worker has died or stopped, and where an operator
 * sees that sealing is alive.
 */
import {
  allHandlersFinished,
  condition,
  continueAsNew,
  proxyActivities,
  setCurrentDetails,
  workflowInfo,
} from '@temporalio/workflow'
import type { SealActivities } from '../activities/seal.js'
import type { SealInput } from '../src/transparency-log/contract.js'

const { sealPartition } = proxyActivities<SealActivities>({
  // A turn is five minutes; a worker that hangs without dying is given up after this.
  startToCloseTimeout: '10m',
  heartbeatTimeout: '10s',
  retry: { initialInterval: '250ms', backoffCoefficient: 2, maximumInterval: '5s' },
  summary: 'Seal pending events',
})

const defaultTurns = 100

export async function seal(input: SealInput): Promise<never> {
  let sealed = input.sealed ?? 0
  for (let turn = 0; ; turn += 1) {
    setCurrentDetails(details(input, sealed))
    if (turn >= (input.turns ?? defaultTurns) || workflowInfo().continueAsNewSuggested) {
      await condition(allHandlersFinished)
      await continueAsNew<typeof seal>({ ...input, sealed })
    }
    const done = await sealPartition(input.partition)
    sealed += done.sealed
  }
}

function details({ region, partition }: SealInput, sealed: number): string {
  return [
    `**Sealing** partition ${String(partition)} of region ${region}`,
    `- events sealed in finished turns: ${String(sealed)}`,
    `- as of ${new Date().toISOString()}`,
  ].join('\n')
}
