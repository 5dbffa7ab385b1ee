/** The signing secrets of an organization as its owner sees them: read to set up a receiver, rotated with an event. */
import type { MongoClient } from 'mongodb'
import type { SystemEventWriter } from '../events/contract.js'
import { inTransaction } from '../mongo/transaction.js'
import type { WebhookSecret, WebhookSecrets } from './secrets.js'

export interface SecretAuthor {
  /** `prn_…` */
  readonly principal: string
  readonly requestId: string
}

export type WebhookSecretService = ReturnType<typeof createWebhookSecretService>

export function createWebhookSecretService(deps: {
  readonly client: MongoClient
  readonly secrets: WebhookSecrets
  readonly systemEvents: Pick<SystemEventWriter, 'writeInTransaction'>
}) {
  const { client, secrets, systemEvents } = deps
  return {
    /** Those that sign, newest first. @throws KeyError */
    list: (organizationId: string): Promise<readonly WebhookSecret[]> => secrets.signing(organizationId),

    /**
     * Makes a new secret; the one before signs along for `overlapMs`.
     * @returns those that sign now, newest first
     * @throws AnnalsError `wrong_state` where too many sign already
     */
    async rotate(
      organizationId: string,
      overlapMs: number,
      { principal, requestId }: SecretAuthor,
    ): Promise<readonly WebhookSecret[]> {
      // There is one to rotate: of two rotations at once the second then follows the first.
      await secrets.signing(organizationId)
      await inTransaction(client, async (session) => {
        const number = await secrets.rotate(organizationId, overlapMs, session)
        await systemEvents.writeInTransaction(
          {
            organizationId,
            action: 'annals.webhook_secret.rotated',
            occurredAt: new Date(),
            actor: { type: 'principal', id: principal },
            targets: [{ type: 'organization', id: organizationId }],
            context: { requestId },
            metadata: { number, overlapHours: overlapMs / 3_600_000 },
          },
          session,
        )
      })
      return secrets.signing(organizationId)
    },
  }
}
