/**
 * Worker versioning: every worker says which build it runs, and Temporal sends tasks to the current build alone.
 * While no version is current, versioned workers get nothing; so `annals up` and a deployment's last step make
 * theirs current, and the first worker ever does so by itself. A worker that merely restarts must not: it may be
 * the old one of a deployment that is being replaced.
 */
import { isGrpcServiceError, type Connection } from '@temporalio/client'
import type { WorkerDeploymentVersion } from '@temporalio/common'

const deploymentName = 'annals'

export function deploymentVersion(buildId: string): WorkerDeploymentVersion {
  return { deploymentName, buildId }
}

export interface CurrentVersionOptions {
  readonly connection: Connection
  readonly namespace: string
  readonly version: WorkerDeploymentVersion
  /** `if_none`: leaves another current version as it is. */
  readonly when: 'always' | 'if_none'
  /** How long to wait for the workers of this version to be seen. */
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
}

const defaultTimeoutMs = 60_000
const pollMs = 200

/**
 * Makes a version current once its workers poll.
 * @returns whether it is current now
 * @throws Error where Temporal refuses until the time is over
 */
export async function makeVersionCurrent(options: CurrentVersionOptions): Promise<boolean> {
  const deadline = Date.now() + (options.timeoutMs ?? defaultTimeoutMs)
  for (;;) {
    try {
      return await attempt(options)
    } catch (error) {
      // Not found: no worker of it polls yet. Failed precondition: some queue's worker does not.
      if (options.signal?.aborted === true) return false
      if (!isGrpcServiceError(error) || Date.now() > deadline) throw error
    }
    await new Promise((resolve) => setTimeout(resolve, pollMs))
  }
}

async function attempt({ connection, namespace, version, when }: CurrentVersionOptions): Promise<boolean> {
  const { workerDeploymentInfo } = await connection.workflowService.describeWorkerDeployment({
    namespace,
    deploymentName,
  })
  const current = workerDeploymentInfo?.routingConfig?.currentDeploymentVersion?.buildId ?? ''
  if (current === version.buildId) return true
  if (current !== '' && when === 'if_none') return false
  await connection.workflowService.setWorkerDeploymentCurrentVersion({
    namespace,
    deploymentName,
    buildId: version.buildId,
    identity: 'annals',
  })
  return true
}
