/** How long Temporal keeps what is over. */
import type { TemporalConnection } from './client.js'

const secondsPerDay = 86_400

/** @returns days for which histories of closed runs are kept; undefined where Temporal does not say, or is away */
export async function historyDays({
  connection,
  namespace,
}: Pick<TemporalConnection, 'connection' | 'namespace'>): Promise<number | undefined> {
  try {
    const { config } = await connection.workflowService.describeNamespace({ namespace })
    const seconds = config?.workflowExecutionRetentionTtl?.seconds
    return seconds === undefined || seconds === null ? undefined : Number(seconds) / secondsPerDay
  } catch {
    return undefined
  }
}
