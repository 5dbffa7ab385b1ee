/**
 * Tells the requests of an organization that wait for holds that one was released: they look again at once, and what holds
 * had kept of others goes. A courtesy: each looks again every few hours by itself, and a Schedule sees to what is kept, so
 * that one that is not reached waits until then.
 */
import { WorkflowNotFoundError } from '@temporalio/client'
import type { Logger } from '../logging.js'
import type { TemporalConnection } from '../temporal/client.js'
import { erasureWorkflowId, holdReleasedSignal } from './contract.js'
import type { ErasureProgress } from './progress.js'
import { startReleases } from './start-releases.js'
import type { ErasureStore } from './store.js'

/** More than these wait for the hours to pass. */
const maxRequests = 100
const temporalTimeoutMs = 5_000

export interface ResumeHeldDependencies {
  readonly store: Pick<ErasureStore, 'list'>
  readonly progress: Pick<ErasureProgress, 'keeping'>
  readonly temporal: Pick<TemporalConnection, 'client' | 'withTimeout'>
  readonly logger: Logger
}

/** @returns what tells them; it never fails */
export function createHeldResumer({ store, progress, temporal, logger }: ResumeHeldDependencies) {
  return async (organizationId: string): Promise<void> => {
    try {
      const held = await store.list({ organizationId, state: 'on_hold', limit: maxRequests })
      const keeping = await progress.keeping(organizationId, '', 1)
      await temporal.withTimeout(temporalTimeoutMs, async () => {
        if (keeping.length > 0) await startReleases(temporal, organizationId)
        for (const { requestId } of held) {
          const handle = temporal.client.workflow.getHandle(erasureWorkflowId(organizationId, requestId))
          await handle.signal(holdReleasedSignal).catch((error: unknown) => {
            // Withdrawn a moment ago.
            if (!(error instanceof WorkflowNotFoundError)) throw error
          })
        }
      })
    } catch (error) {
      logger.warn('erasures.hold_release_not_told', { organizationId, error })
    }
  }
}
