/** Outgoing webhooks of one process: their store, the secrets that sign them, and what sends them. */
import type { Db } from 'mongodb'
import type { Config } from '../config.js'
import type { ErasureRequests } from '../erasure/contract.js'
import type { RootKey } from '../keys/root-key.js'
import { createErasureNotices, type ErasureNotices } from './erasure-notices.js'
import { createWebhookSecrets, ensureWebhookSecretIndexes, type WebhookSecrets } from './secrets.js'
import { createSender } from './sender.js'
import { createDeliveryStore, ensureDeliveryIndexes, type DeliveryStore } from './store.js'

export interface Delivery {
  readonly deliveries: DeliveryStore
  readonly secrets: WebhookSecrets
  /** Tells the recipients of an erasure. */
  readonly notices: ErasureNotices
}

export function createDelivery(deps: {
  readonly db: Db
  readonly root: RootKey
  readonly requests: Pick<ErasureRequests, 'open'>
  readonly webhooks: Config['webhooks']
}): Delivery {
  const { db, root, requests, webhooks } = deps
  const deliveries = createDeliveryStore(db)
  const secrets = createWebhookSecrets({ db, root })
  const send = createSender(webhooks)
  const giveUpMs = webhooks.giveUpHours * 3_600_000
  return {
    deliveries,
    secrets,
    notices: createErasureNotices({ requests, deliveries, secrets, send, giveUpMs }),
  }
}

/** Creates the indexes of the delivery domain; safe to repeat. */
export async function ensureDeliveryCollections(db: Db): Promise<void> {
  await ensureDeliveryIndexes(db)
  await ensureWebhookSecretIndexes(db)
}
