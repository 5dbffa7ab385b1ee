/** The leaves of an erasure: those that the person's pending events still get, and those of Annals' own events about it. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { EventCollection } from '../events/store.js'
import type { SystemEventWriter } from '../events/contract.js'
import type { Sealer } from '../transparency-log/sealer.js'
import type { LogStore } from '../transparency-log/store.js'
import type { ErasureReference } from './contract.js'

export interface LeavesDependencies {
  readonly sealer: Sealer
  readonly log: LogStore
  readonly systemEvents: SystemEventWriter
}

const pauseMs = 50
const maxRounds = 1_200
const annals = { type: 'system', id: 'annals' } as const

/** Every pending event of the subjects gets its leaf, although they are fenced. */
export async function drainSubjects(
  sealer: Sealer,
  events: EventCollection,
  { organizationId, subjects }: { readonly organizationId: string; readonly subjects: readonly string[] },
  beat: () => void,
): Promise<void> {
  const also = new Set(subjects)
  for (let round = 0; round < maxRounds; round += 1) {
    beat()
    const waiting = { pending: true as const, organizationId, 'fields.subject': { $in: [...also] } }
    const left = await events.countDocuments(waiting, { hint: 'pending_received' })
    if (left === 0) return
    const { drained } = await sealer.drainOrganization(organizationId, { alsoSubjects: also })
    if (!drained) await sleep(pauseMs)
  }
  throw new Error('the pending events of a subject could not be sealed')
}

/** Writes one of Annals' own and waits for its leaf. */
export async function sealEvent(
  { sealer, log, systemEvents }: LeavesDependencies,
  { organizationId, requestId }: ErasureReference,
  action: 'annals.subject.erasure_started' | 'annals.subject.erased',
  metadata: Record<string, string | number>,
  beat: () => void,
  /** Tells events of the same action apart. */
  which = '',
) {
  const { id } = await systemEvents.write({
    organizationId,
    action,
    occurredAt: new Date(),
    actor: annals,
    targets: [{ type: 'erasure', id: requestId }],
    metadata,
    onceKey: `erasure/${requestId}/${action}${which}`,
  })
  for (let round = 0; round < maxRounds; round += 1) {
    beat()
    const leaf = await log.locate(organizationId, id)
    if (leaf !== undefined) return { id, leaf }
    await sealer.drainOrganization(organizationId)
    if (round > 0) await sleep(pauseMs)
  }
  throw new Error('an event of an erasure was not sealed')
}
