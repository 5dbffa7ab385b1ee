/**
 * Temporal's executions of an organization: stopped, and then deleted, every run of each. Deleting without a run id takes
 * the newest run only, so each is named. What is deleted is gone from visibility a moment later.
 */
import { WorkflowNotFoundError } from '@temporalio/client'
import type { TemporalConnection } from '../temporal/client.js'

export interface Executions {
  /** Terminates what runs. @returns how many ran */
  stop(organizationId: string, except: string): Promise<number>
  /** Asks for the deletion of all that is closed. @returns how many executions visibility still shows */
  remove(organizationId: string, except: string): Promise<number>
}

/** gRPC NOT_FOUND: somebody else deleted it, or its retention is over. */
const notFoundCode = 5

export function createExecutions({
  client,
  connection,
  namespace,
}: Pick<TemporalConnection, 'client' | 'connection' | 'namespace'>): Executions {
  // An organization's id has no character that means anything in a query.
  const query = (organizationId: string, more = '') => `AnnalsOrganization = "${organizationId}"${more}`

  return {
    async stop(organizationId, except) {
      let ran = 0
      const running = client.workflow.list({
        query: query(organizationId, ' AND ExecutionStatus = "Running"'),
      })
      for await (const { workflowId, runId } of running) {
        if (workflowId === except) continue
        ran += 1
        try {
          await client.workflow.getHandle(workflowId, runId).terminate('its organization is offboarded')
        } catch (error) {
          if (!(error instanceof WorkflowNotFoundError)) throw error
        }
      }
      return ran
    },
    async remove(organizationId, except) {
      let left = 0
      for await (const { workflowId, runId, status } of client.workflow.list({
        query: query(organizationId),
      })) {
        if (workflowId === except) continue
        left += 1
        // Deleted before visibility has seen it end, it may be written there once more, and stay for ever: next time.
        if (status.name === 'RUNNING') continue
        try {
          const workflowExecution = { workflowId, runId }
          await connection.workflowService.deleteWorkflowExecution({ namespace, workflowExecution })
        } catch (error) {
          if (codeOf(error) !== notFoundCode) throw error
        }
      }
      return left
    },
  }
}

const codeOf = (error: unknown): unknown =>
  typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined
