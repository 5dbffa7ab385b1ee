/**
 * Annals' own events: who changed settings, made keys, read personal values; what scans and duties did.
 * They take the same path as everybody's, and stand in the same log.
 */
import type { ClientSession } from 'mongodb'
import type { EventInput, RecordedEvent, SealedEvents, SystemEvent, SystemEventWriter } from './contract.js'
import { idForKey, type Intake, type IntakeOrganization } from './intake.js'
import { protectEvent } from './protect.js'
import { newId } from '../ids.js'
import { eventDocumentId, type EventCollection } from './store.js'

export interface SystemEventDependencies {
  readonly intake: Intake
  readonly events: EventCollection
  readonly sealed: SealedEvents
  /** The organization, read through the session where its creation belongs to the same transaction. */
  readonly organization: (organizationId: string, session?: ClientSession) => Promise<IntakeOrganization>
}

export function createSystemEventWriter({
  intake,
  events,
  sealed,
  organization,
}: SystemEventDependencies): SystemEventWriter {
  return {
    async write(event) {
      const { organizationId, onceKey } = event
      const target = await organization(organizationId)
      const clientId = onceKey === undefined ? undefined : systemEventId(target, onceKey)
      const submission = { event: inputOf(event), clientId, firstStands: true }
      return intake.submit(submission, target)
    },
    async writeInTransaction(event, session): Promise<RecordedEvent> {
      const target = await organization(event.organizationId, session)
      const id = event.onceKey === undefined ? newId('evt') : systemEventId(target, event.onceKey)
      if (event.onceKey !== undefined) {
        const first = await events.findOne({ _id: eventDocumentId(event.organizationId, id) }, { session })
        if (first !== null) return { id, replayed: true, ...answerOf(first) }
        const known = await sealed.find(event.organizationId, id)
        if (known !== undefined) return { id, organizationId: event.organizationId, replayed: true, ...known }
      }
      // Actor and targets are things: no subject, no lease, nothing to look at after the commit.
      const subjects = { actor: undefined, targets: (event.targets ?? []).map(() => undefined) }
      const options = {
        id,
        receivedAt: new Date(),
        fingerprint: event.onceKey !== undefined,
        search: target.detection.detector.begin(),
      }
      const stored = protectEvent(inputOf(event), subjects, target.keyset, options)
      await events.insertOne(stored, { session })
      return { id, replayed: false, ...answerOf(stored) }
    },
  }
}

const answerOf = ({ organizationId, receivedAt, leafHash }: Omit<RecordedEvent, 'id' | 'replayed'>) => ({
  organizationId,
  receivedAt,
  leafHash,
})

/** Apart from clients' idempotency keys, so that no client can take the place of an event of Annals'. */
const systemEventId = ({ keyset }: IntakeOrganization, onceKey: string) =>
  idForKey(keyset, 'evt', `system\0${onceKey}`)

function inputOf(event: SystemEvent): EventInput {
  return {
    organizationId: event.organizationId,
    action: event.action,
    occurredAt: event.occurredAt,
    actor: event.actor,
    targets: event.targets ?? [],
    context: event.context ?? {},
    outcome: event.outcome ?? 'success',
    category: 'system',
    metadata: event.metadata ?? {},
    version: 1,
  }
}
