/** What the tests of sealing share: accepted events, and a drain of everybody. */
import type { Core } from '../../src/composition.js'
import type { EventInput } from '../../src/events/contract.js'
import { subjectStore } from '../../src/subjects/store.js'
import type { Acknowledged } from './log-oracle.js'
import { openWorld, type World, type WorldOptions } from './world.js'

export const openSealingWorld = (options: WorldOptions = {}): Promise<World> => openWorld(options)

/** An event about a person of its own. */
export const personEvent = (organizationId: string, number: number): EventInput => ({
  organizationId,
  action: 'team.member.invited',
  occurredAt: new Date(),
  actor: {
    type: 'user',
    id: `u_${String(number)}`,
    name: 'Jane Doe',
    email: `jane${String(number)}@acme.example`,
  },
  targets: [{ type: 'team', id: 't_9', name: 'Platform' }],
  context: { ip: '203.0.113.7', requestId: `req_${String(number)}` },
  outcome: 'success',
  category: 'account',
  metadata: { plan: 'pro', seats: number },
  version: 1,
})

/** Takes events in, one after the other in order of receipt where there are few of them. */
export async function accept(core: Core, organizationId: string, count: number): Promise<Acknowledged[]> {
  const organization = await core.eventOrganizations.ensure(organizationId, 'system')
  const submit = (number: number) =>
    core.intake.submit({ event: personEvent(organizationId, number) }, organization)
  const accepted: Acknowledged[] = []
  if (count > 10) return Promise.all(Array.from({ length: count }, (_, number) => submit(number % 50)))
  for (let number = 0; number < count; number += 1) {
    accepted.push(await submit(number))
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
  return accepted
}

/** Seals what is pending for one organization, however long another sealer's transaction holds its log. */
export async function drainUntilSealed(core: Core, organizationId: string): Promise<void> {
  const deadline = Date.now() + 120_000
  while ((await core.events.countDocuments({ organizationId, pending: true })) > 0) {
    if (Date.now() > deadline) throw new Error('events are pending and not sealed')
    await core.sealing.sealer.drainOrganization(organizationId)
  }
}

const maxRounds = 50

/** Seals whatever is pending, as the loop would. What waits under a fenced subject is its erasure's to drain, and stays. */
export async function drainAll(core: Core): Promise<number> {
  let sealed = 0
  for (let round = 0; ; round += 1) {
    if (round > maxRounds) throw new Error('events are pending and not sealed')
    const ids = await subjectStore(core.db).subjects.distinct('_id', { state: { $ne: 'active' } })
    const fenced = ids.map((id) => id.slice(id.indexOf('/') + 1))
    const waiting = await core.events.distinct('organizationId', {
      pending: true,
      'fields.subject': { $nin: fenced },
    })
    if (waiting.length === 0) return sealed
    for (const organizationId of waiting) {
      sealed += (await core.sealing.sealer.drainOrganization(organizationId)).sealed
    }
  }
}
