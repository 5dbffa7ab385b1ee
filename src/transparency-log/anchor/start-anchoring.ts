/** Starts the workflow of the duties of every minute, where it does not run: by every worker that could serve it. */
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/client'
import type { TemporalConnection } from '../../temporal/client.js'
import { kindAttribute, phaseAttribute } from '../../temporal/search-attributes.js'
import { anchorWorkflowId, anchorWorkflowType, sealTaskQueue, type AnchorInput } from '../contract.js'

/** Safe to repeat. One that an operator ended begins anew: it is a duty without an end. */
export async function startAnchoring(
  { client }: Pick<TemporalConnection, 'client'>,
  region: string,
  options: Omit<AnchorInput, 'region'> = {},
): Promise<void> {
  const input: AnchorInput = { region, ...options }
  await client.workflow
    .start(anchorWorkflowType, {
      workflowId: anchorWorkflowId(region),
      taskQueue: sealTaskQueue,
      workflowIdConflictPolicy: 'USE_EXISTING',
      workflowIdReusePolicy: 'ALLOW_DUPLICATE',
      args: [input],
      staticSummary: `Anchor log and checkpoint copies of ${region}`,
      typedSearchAttributes: [
        { key: kindAttribute, value: 'anchor' },
        { key: phaseAttribute, value: 'running' },
      ],
    })
    .catch((error: unknown) => {
      if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error
    })
}
