/**
 * From a secret to its caller. A key is looked up once in 5 s at most, so a key revoked in another process stops
 * working within 5 s, and one revoked in this process at once.
 */
import { timingSafeEqual } from 'node:crypto'
import { AnnalsError, type FieldErrorCode } from '../errors.js'
import { FreshCache } from '../fresh-cache.js'
import type { Authenticator, Caller } from './contract.js'
import type { LastUse } from './last-use.js'
import { bearerSecret, hashSecret } from './secrets.js'
import type { AccessKeyCollection, AccessKeyDocument, StoredSecret } from './store.js'

interface Entry {
  readonly key: AccessKeyDocument
  readonly secret: StoredSecret
  readonly caller: Caller
}

export interface AccessKeyAuthenticator extends Authenticator {
  /** Looks the key up again on its next use: called after its own process has changed it. */
  forget(key: Pick<AccessKeyDocument, 'secrets'>): void
}

const maxCached = 10_000
const maxAgeMs = 5_000

export function createAuthenticator(keys: AccessKeyCollection, lastUse: LastUse): AccessKeyAuthenticator {
  const cache = new FreshCache<Entry>({
    max: maxCached,
    maxAgeMs,
    load: async (hash) => {
      const key = await keys.findOne({ 'secrets.hash': hash })
      const secret = key?.secrets.find((candidate) => sameHash(candidate.hash, hash))
      return key === null || secret === undefined ? undefined : { key, secret, caller: callerOf(key) }
    },
  })
  return {
    async authenticate(authorization) {
      const text = bearerSecret(authorization)
      if (text === undefined)
        throw unauthenticated('missing', 'no access key was sent as "Authorization: Bearer …"')
      const entry = await cache.get(hashSecret(text))
      if (entry === undefined) throw unauthenticated('unknown', 'is no key of this deployment')
      // Only who holds the right secret learns more than "unknown".
      const { key, secret, caller } = entry
      if (key.revokedAt !== null) throw unauthenticated('revoked', 'was revoked')
      const now = Date.now()
      if (isOver(key.expiresAt, now) || isOver(secret.expiresAt, now))
        throw unauthenticated('expired', 'has expired')
      lastUse.used(key._id)
      return caller
    },
    forget(key) {
      for (const { hash } of key.secrets) cache.forget(hash)
    },
  }
}

const isOver = (end: Date | null, now: number): boolean => end !== null && end.getTime() <= now

const sameHash = (a: string, b: string): boolean =>
  a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b))

export const callerOf = (key: AccessKeyDocument): Caller => ({
  keyId: key._id,
  role: key.role,
  principal: key.principal,
  organizations: key.organizations === 'all' ? 'all' : new Set(key.organizations),
  personal: key.personal,
  eventsPerMinute: key.eventsPerMinute ?? null,
})

const unauthenticated = (code: FieldErrorCode, message: string): AnnalsError =>
  new AnnalsError(
    'unauthenticated',
    `A valid access key is needed: the key ${code === 'missing' ? 'is missing' : message}.`,
    {
      errors: [{ path: 'authorization', code, message }],
    },
  )
