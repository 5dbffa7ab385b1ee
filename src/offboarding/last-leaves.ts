/** The end of an organization's log, and what the log of the deployment says of it: both sealed before anything goes. */
import { hash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { SystemEventWriter } from '../events/contract.js'
import { systemOrganizationId } from '../organizations/contract.js'
import type { Sealer } from '../transparency-log/sealer.js'
import type { LogStore } from '../transparency-log/store.js'
import type { OffboardingReference } from './contract.js'
import type { FinalLog } from './store.js'

export interface LastLeavesDependencies {
  readonly systemEvents: SystemEventWriter
  readonly sealer: Sealer
  readonly log: Pick<LogStore, 'head' | 'locate'>
}

/** Visibility, or a sealer, is a moment behind: to be tried again. */
export class OffboardingWaitsError extends Error {
  override readonly name = 'OffboardingWaitsError'
}

const maxSealRounds = 600
const pauseMs = 50

export function createLastLeaves(
  { systemEvents, sealer, log }: LastLeavesDependencies,
  now: () => Date = () => new Date(),
) {
  async function untilSealed(organizationId: string, eventId: string, beat: () => void): Promise<void> {
    for (let round = 0; round < maxSealRounds; round += 1) {
      beat()
      if ((await log.locate(organizationId, eventId)) !== undefined) return
      await sealer.drainOrganization(organizationId)
      if (round > 0) await sleep(pauseMs)
    }
    throw new OffboardingWaitsError('an event is not sealed yet')
  }

  return {
    /** Writes an event into the log of the deployment, once, and waits for its leaf. @returns its id */
    async say(
      { offboardingId, organizationId }: OffboardingReference,
      what: 'offboarding_started' | 'offboarded',
      metadata: Readonly<Record<string, string | number>>,
      beat: () => void,
    ): Promise<string> {
      const { id } = await systemEvents.write({
        organizationId: systemOrganizationId,
        action: `annals.organization.${what}`,
        occurredAt: now(),
        actor: { type: 'system', id: 'annals' },
        targets: [
          { type: 'organization', id: organizationId },
          { type: 'offboarding', id: offboardingId },
        ],
        metadata,
        onceKey: `offboarding/${offboardingId}/${what}`,
      })
      await untilSealed(systemOrganizationId, id, beat)
      return id
    },

    /** Everything that was acknowledged gets its leaf; what waits for a fenced person was acknowledged to nobody. */
    async drain(organizationId: string, beat: () => void): Promise<void> {
      for (let round = 0; round < maxSealRounds; round += 1) {
        beat()
        const { drained } = await sealer.drainOrganization(organizationId)
        if (drained) return
        await sleep(pauseMs)
      }
      throw new OffboardingWaitsError('what is pending could not be sealed')
    },

    /** null where the organization has no log. */
    async last(organizationId: string): Promise<FinalLog | null> {
      const head = await log.head(organizationId)
      if (head === undefined) return null
      const { generation, size, root, checkpoint } = head
      const checkpointSha256 = hash('sha256', checkpoint)
      return { generation, size, root: root.toString('hex'), checkpointSha256, checkpoint }
    },
  }
}
