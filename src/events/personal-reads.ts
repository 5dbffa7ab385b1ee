/** The one place where it is noted, in the organization's own log, that somebody saw or looked up a person. */
import { AnnalsError } from '../errors.js'
import type { JsonObject, SystemEventWriter } from './contract.js'

/** Who reads, and what is noted of it. */
export interface Reader {
  readonly principal: string
  /** Has the personal grant, and did not ask to read without it. */
  readonly personal: boolean
  readonly requestId: string
}

/** What a note says of a read: of which kind it was, and what it was asked for. */
export type ReadNote = JsonObject & { by: string }

export interface PersonalRead {
  readonly organizationId: string
  readonly reader: Reader
  readonly note: ReadNote
  /** How many events the answer holds. */
  readonly events: number
  /** References of the persons it shows. */
  readonly shown: readonly string[]
  /** Until when they may be shown. */
  readonly leases: readonly { readonly valid: boolean }[]
}

/** More references than these are counted, not listed. */
const maxListedSubjects = 500

/**
 * Writes `annals.personal.read`, and lets the answer go only while what it shows may still be shown. To be awaited
 * before anything of the answer leaves.
 * @throws AnnalsError `unavailable` where it took too long to still be current
 */
export async function notePersonalRead(
  systemEvents: Pick<SystemEventWriter, 'write'>,
  { organizationId, reader, note, events, shown, leases }: PersonalRead,
): Promise<void> {
  await systemEvents.write({
    organizationId,
    action: 'annals.personal.read',
    occurredAt: new Date(),
    actor: { type: 'principal', id: reader.principal },
    context: { requestId: reader.requestId },
    metadata: { ...note, events, subjectCount: shown.length, subjects: shown.slice(0, maxListedSubjects) },
  })
  if (shown.length > 0 && !leases.every((lease) => lease.valid)) {
    throw new AnnalsError('unavailable', 'The read took too long to still be current; try again.', {
      retryAfterSeconds: 1,
    })
  }
}
