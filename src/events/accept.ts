/** Taking one parsed event in: the path that a single post, an item of a batch and a line of a stream share. */
import { boundTo, type Caller } from '../access/contract.js'
import { AnnalsError, notFound } from '../errors.js'
import type { RecordedEvent } from './contract.js'
import type { Intake, Submission } from './intake.js'
import type { EventOrganizations } from './organizations.js'
import type { ParsedEvent, ParseResult } from './schema.js'

/**
 * Stores one event for a caller, or answers its repeat.
 * @throws AnnalsError `not_found` (also where the key is not bound to the organization) | `wrong_region` |
 *   `idempotency_conflict` | `overloaded` | `unavailable`
 */
export type Accept = (
  caller: Caller,
  parsed: ParsedEvent,
  idempotencyKey: string | undefined,
) => Promise<RecordedEvent>

export interface AcceptDependencies {
  readonly organizations: EventOrganizations
  readonly intake: Intake
}

export function createAccept({ organizations, intake }: AcceptDependencies): Accept {
  return async (caller, parsed, idempotencyKey) => {
    const { event, clientId } = parsed
    if (!boundTo(caller, event.organizationId)) throw notFound()
    const organization =
      organizations.known(event.organizationId) ?? (await organizations.ensure(event.organizationId, caller))
    const submission: Submission = { event, clientId, idempotencyKey, lane: caller.keyId }
    return intake.submit(submission, organization)
  }
}

/** The parsed event. @throws AnnalsError `invalid` | `too_large`, naming each place */
export function accepted(result: ParseResult): ParsedEvent {
  if (result.ok) return result.parsed
  const detail =
    result.code === 'too_large'
      ? 'The event is over the limit.'
      : 'The event does not fit its schema; see errors.'
  throw new AnnalsError(result.code, detail, { errors: result.errors })
}

/** Standard base64, as leaf hashes stand in answers. */
export const base64 = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
