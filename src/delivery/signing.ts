/** The head of a webhook: Standard Webhooks' id, time and signatures, one for each secret that signs. */
import { Webhook } from 'standardwebhooks'

/**
 * @param id the same for each attempt, so that a receiver knows a repeat
 * @param at the moment of this attempt: receivers refuse what is old
 * @param secrets `whsec_…`, newest first
 */
export function signedHeaders(
  id: string,
  at: Date,
  body: string,
  secrets: readonly string[],
): Record<string, string> {
  return {
    'content-type': 'application/json',
    'user-agent': 'annals-webhooks/1',
    'webhook-id': id,
    'webhook-timestamp': String(Math.floor(at.getTime() / 1_000)),
    'webhook-signature': secrets.map((secret) => new Webhook(secret).sign(id, at, body)).join(' '),
  }
}
