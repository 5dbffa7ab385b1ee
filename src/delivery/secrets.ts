/**
 * The secrets that sign an organization's webhooks (HMAC-SHA-256, Standard Webhooks): numbered from 1, each 32 random
 * bytes, wrapped under the root key in `webhookSecrets`. A rotation makes the next; the one before signs along until
 * `signsUntil`, so that a receiver that has not changed its secret yet can still verify. One that signs no more goes.
 */
import { randomBytes } from 'node:crypto'
import type { ClientSession, Collection, Db } from 'mongodb'
import { AnnalsError } from '../errors.js'
import type { RootKey } from '../keys/root-key.js'
import { KeyError } from '../keys/wrapping.js'
import { collectionNames } from '../mongo/collections.js'
import { isDuplicateKey } from '../mongo/unavailable.js'

export interface WebhookSecret {
  /** From 1; the highest is the newest. */
  readonly number: number
  /** `whsec_` and base64, as Standard Webhooks libraries take it. */
  readonly secret: string
  readonly createdAt: Date
  /** Signs along until then, beside the newer one; null = it is the newest. */
  readonly signsUntil: Date | null
}

export interface WebhookSecrets {
  /** Those that sign now, newest first; the first is made where there is none. @throws KeyError */
  signing(organizationId: string): Promise<readonly WebhookSecret[]>
  /**
   * Makes the next secret; the one before signs along for `overlapMs`.
   * @param session the caller's transaction, so that the event about it and the secret are one
   * @returns the number of the new one
   * @throws AnnalsError `wrong_state` where too many sign already
   */
  rotate(organizationId: string, overlapMs: number, session: ClientSession): Promise<number>
}

interface WebhookSecretDocument {
  /** `<organizationId>/<number>` */
  readonly _id: string
  readonly organizationId: string
  readonly number: number
  readonly rootKeyId: string
  readonly wrapped: Buffer
  readonly createdAt: Date
  readonly signsUntil: Date | null
}

/** Each adds a signature to every webhook. */
export const maxSigning = 5
const secretBytes = 32
const documentId = (organizationId: string, number: number) => `${organizationId}/${String(number)}`
const purposeOf = (id: string) => `annals/webhook/v1/${id}`

/** Creates the index of the secrets; safe to repeat. */
export async function ensureWebhookSecretIndexes(db: Db): Promise<void> {
  await db
    .collection<WebhookSecretDocument>(collectionNames.webhookSecrets)
    .createIndexes([{ key: { organizationId: 1, number: -1 }, name: 'newestFirst' }])
}

export function createWebhookSecrets(deps: {
  readonly db: Db
  readonly root: RootKey
  readonly now?: () => Date
}): WebhookSecrets {
  const { db, root, now = () => new Date() } = deps
  const documents: Collection<WebhookSecretDocument> = db.collection(collectionNames.webhookSecrets)

  async function newDocument(organizationId: string, number: number): Promise<WebhookSecretDocument> {
    const _id = documentId(organizationId, number)
    const wrapped = await root.wrap(randomBytes(secretBytes), purposeOf(_id))
    return { _id, organizationId, number, rootKeyId: root.id, wrapped, createdAt: now(), signsUntil: null }
  }

  async function open(document: WebhookSecretDocument): Promise<WebhookSecret> {
    const { _id, number, rootKeyId, wrapped, createdAt, signsUntil } = document
    if (rootKeyId !== root.id)
      throw new KeyError('wrong_root_key', `a webhook secret needs root key ${rootKeyId}, not ${root.id}`)
    const bytes = Buffer.from(await root.unwrap(wrapped, purposeOf(_id)))
    return { number, secret: `whsec_${bytes.toString('base64')}`, createdAt, signsUntil }
  }

  /** Newest first; the newest alone has no end. */
  const signingDocuments = async (organizationId: string, session?: ClientSession) => {
    const filter = { organizationId, $or: [{ signsUntil: null }, { signsUntil: { $gt: now() } }] }
    return documents
      .find(filter, { sort: { number: -1 }, ...(session === undefined ? {} : { session }) })
      .toArray()
  }

  return {
    async signing(organizationId) {
      let found = await signingDocuments(organizationId)
      if (found.length === 0) {
        try {
          await documents.insertOne(await newDocument(organizationId, 1))
        } catch (error) {
          // Another process was quicker.
          if (!isDuplicateKey(error)) throw error
        }
        found = await signingDocuments(organizationId)
      }
      return Promise.all(found.map(open))
    },

    async rotate(organizationId, overlapMs, session) {
      const found = await signingDocuments(organizationId, session)
      if (found.length >= maxSigning) {
        throw new AnnalsError('wrong_state', 'Too many secrets sign already; wait until one of them is over.')
      }
      const [newest] = found
      if (newest !== undefined) {
        const signsUntil = new Date(now().getTime() + overlapMs)
        await documents.updateOne({ _id: newest._id }, { $set: { signsUntil } }, { session })
      }
      await documents.deleteMany({ organizationId, signsUntil: { $lte: now() } }, { session })
      const number = (newest?.number ?? 0) + 1
      // Of two rotations at once, one fails by the id: no number is given twice.
      await documents.insertOne(await newDocument(organizationId, number), { session })
      return number
    },
  }
}
