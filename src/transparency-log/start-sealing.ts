/** Starts the workflows that seal, where they do not run: by every worker that could serve them, at its start. */
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/client'
import type { TemporalConnection } from '../temporal/client.js'
import { kindAttribute, phaseAttribute } from '../temporal/search-attributes.js'
import {
  sealPartitions,
  sealTaskQueue,
  sealWorkflowId,
  sealWorkflowType,
  type SealInput,
} from './contract.js'

/**
 * One workflow a partition. One that an operator ended begins anew: sealing is a duty without an end, so its id may
 * be used again (docs/decisions/sealing.md).
 */
export async function startSealing(
  { client }: Pick<TemporalConnection, 'client'>,
  region: string,
): Promise<void> {
  for (let partition = 0; partition < sealPartitions; partition += 1) {
    const input: SealInput = { region, partition }
    await client.workflow
      .start(sealWorkflowType, {
        workflowId: sealWorkflowId(region, partition),
        taskQueue: sealTaskQueue,
        workflowIdConflictPolicy: 'USE_EXISTING',
        workflowIdReusePolicy: 'ALLOW_DUPLICATE',
        args: [input],
        staticSummary: `Sealing, partition ${String(partition)} of ${region}`,
        typedSearchAttributes: [
          { key: kindAttribute, value: 'seal' },
          { key: phaseAttribute, value: 'running' },
        ],
      })
      .catch((error: unknown) => {
        if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error
      })
  }
}
