/** The collection `accessKeys`: one document a key. No secret, no person's name except in what an owner wrote as `name`. */
import type { Collection, Db } from 'mongodb'
import { collectionNames } from '../mongo/collections.js'
import type { Role } from './contract.js'

export interface StoredSecret {
  /** SHA-256 of the secret, unpadded base64url. */
  readonly hash: string
  /** The end of a replaced secret's grace; null = lives as long as the key. */
  readonly expiresAt: Date | null
}

export interface AccessKeyDocument {
  /** `key_…` */
  readonly _id: string
  readonly role: Role
  /** `prn_…` */
  readonly principal: string
  readonly name: string
  readonly organizations: 'all' | string[]
  readonly personal: boolean
  /** Absent = no limit. */
  readonly eventsPerMinute?: number
  /** The newest first; after a rotation, the replaced one second. */
  readonly secrets: StoredSecret[]
  readonly expiresAt: Date | null
  readonly createdAt: Date
  /** The principal who made it, or `setup`. */
  readonly createdBy: string
  readonly rotatedAt: Date | null
  readonly revokedAt: Date | null
  /** To the minute. */
  readonly lastUsedAt: Date | null
  /** Where a key comes from that nobody made over HTTP or by hand: the first one, or `ANNALS_ADMIN_KEY`. */
  readonly origin?: 'first' | 'environment'
  /** Hash of the maker's principal and idempotency key. */
  readonly creation?: string
}

export type AccessKeyCollection = Collection<AccessKeyDocument>

export const accessKeyCollection = (db: Db): AccessKeyCollection => db.collection(collectionNames.accessKeys)

/** Makes the indexes; changes nothing where they are there. */
export async function ensureAccessKeyIndexes(keys: AccessKeyCollection): Promise<void> {
  await keys.createIndexes([
    { key: { 'secrets.hash': 1 }, name: 'secret', unique: true },
    {
      key: { creation: 1 },
      name: 'creation',
      unique: true,
      partialFilterExpression: { creation: { $exists: true } },
    },
    // Of two setups that both find no key, one makes the first.
    { key: { origin: 1 }, name: 'first', unique: true, partialFilterExpression: { origin: 'first' } },
  ])
}

/** A key as its owner sees it. */
export interface AccessKey {
  readonly id: string
  readonly role: Role
  readonly principal: string
  readonly name: string
  readonly organizations: 'all' | readonly string[]
  readonly personal: boolean
  readonly eventsPerMinute: number | null
  readonly expiresAt: Date | null
  readonly createdAt: Date
  readonly createdBy: string
  readonly rotatedAt: Date | null
  readonly revokedAt: Date | null
  readonly lastUsedAt: Date | null
}

export function accessKeyOf(document: AccessKeyDocument): AccessKey {
  const { _id, role, principal, name, organizations, personal, eventsPerMinute = null, expiresAt } = document
  const { createdAt, createdBy, rotatedAt, revokedAt, lastUsedAt } = document
  return {
    ...{ id: _id, role, principal, name, organizations, personal, eventsPerMinute, expiresAt },
    ...{ createdAt, createdBy, rotatedAt, revokedAt, lastUsedAt },
  }
}
