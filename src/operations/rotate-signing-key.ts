/** Rotation of a signing key: the key and the event about it are one transaction. */
import type { Core } from '../composition.js'
import type { SystemEvent } from '../events/contract.js'
import type { SigningPurpose } from '../keys/signing-keys.js'
import { inTransaction } from '../mongo/transaction.js'
import { systemOrganizationId } from '../organizations/contract.js'

/** How long the old key signs along: time for whoever checks signatures to fetch the new one. */
export const defaultOverlapMs = 30 * 86_400_000

export interface RotateSigningKey {
  readonly purpose: SigningPurpose
  readonly overlapMs?: number
  /** `prn_…`; absent where Annals does it by itself. */
  readonly principal?: string
}

/**
 * Makes the next key of a purpose and writes `annals.log.key_rotated` in the deployment's own log.
 * @returns the number of the new key
 */
export function rotateSigningKey(
  { client, signingKeys, systemEvents }: Pick<Core, 'client' | 'signingKeys' | 'systemEvents'>,
  { purpose, overlapMs = defaultOverlapMs, principal }: RotateSigningKey,
): Promise<number> {
  return inTransaction(client, async (session) => {
    const number = await signingKeys.rotate(purpose, overlapMs, session)
    const event: SystemEvent = {
      organizationId: systemOrganizationId,
      action: 'annals.log.key_rotated',
      occurredAt: new Date(),
      actor:
        principal === undefined ? { type: 'system', id: 'annals' } : { type: 'principal', id: principal },
      targets: [{ type: 'signing_key', id: `${purpose}/${String(number)}` }],
      metadata: { purpose, number, overlapSeconds: Math.round(overlapMs / 1_000) },
    }
    await systemEvents.writeInTransaction(event, session)
    return number
  })
}
