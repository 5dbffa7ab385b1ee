/**
 * The keys of one organization: a random key wrapped under the root key, and what is derived from it.
 *
 * Every use has a key of its own (HKDF with a name), so that, say, an index value never doubles as a
 * fingerprint. The wrapped key lies in the organization's document; the open one only in this process.
 */
import { randomBytes } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { hmacSha256 } from './hmac.js'
import type { PeriodKey } from './period-keys.js'
import type { RootKey } from './root-key.js'
import { deriveKey, KeyError } from './wrapping.js'

/** An organization's key as its document stores it. */
export interface WrappedOrganizationKey {
  readonly wrapped: Buffer
  /** Which root key wrapped it. */
  readonly rootKeyId: string
}

/** The open keys of one organization. */
export interface OrganizationKeyset {
  readonly organizationId: string
  /** HMAC-SHA-256 for the directory and for keyed search terms. */
  index(value: string | Uint8Array): Buffer
  /** HMAC-SHA-256 for ids made from idempotency keys and for body fingerprints. */
  fingerprint(value: string | Uint8Array): Buffer
  /** HMAC-SHA-256 over an accepted event: without it a row is never sealed. */
  intake(value: string | Uint8Array): Buffer
  /** The key that wraps subject keys in one period. */
  subjectWrappingKey(period: PeriodKey): Buffer
}

export interface OrganizationKeys {
  /** A fresh key for a new organization, wrapped for its document. */
  createOrganizationKey(organizationId: string): Promise<WrappedOrganizationKey>
  /** The keys that this very object was opened to before, without waiting: for intake's fast path. */
  opened(key: WrappedOrganizationKey): OrganizationKeyset | undefined
  /** @throws KeyError `wrong_root_key` | `cannot_open` */
  open(organizationId: string, key: WrappedOrganizationKey): Promise<OrganizationKeyset>
}

const maxOpenOrganizations = 10_000
const purpose = (organizationId: string) => `annals/organization/v1/${organizationId}`
const noSalt = Buffer.alloc(0)

export function createOrganizationKeys(root: RootKey): OrganizationKeys {
  // The wrapped bytes are part of the cache's key: an organization created in a transaction that aborted and was
  // created again has another key.
  const cacheKey = (organizationId: string, key: WrappedOrganizationKey) =>
    `${organizationId}/${key.wrapped.toString('base64')}`
  const keysets = new LRUCache<string, OrganizationKeyset>({ max: maxOpenOrganizations })
  const byObject = new WeakMap<WrappedOrganizationKey, OrganizationKeyset>()
  return {
    async createOrganizationKey(organizationId) {
      return { wrapped: await root.wrap(randomBytes(32), purpose(organizationId)), rootKeyId: root.id }
    },
    opened: (key) => byObject.get(key),
    async open(organizationId, key) {
      let keyset = keysets.get(cacheKey(organizationId, key))
      if (keyset === undefined) {
        if (key.rootKeyId !== root.id) {
          throw new KeyError(
            'wrong_root_key',
            `an organization's key needs root key ${key.rootKeyId}, not ${root.id}`,
          )
        }
        keyset = keysetOf(organizationId, await root.unwrap(key.wrapped, purpose(organizationId)))
        keysets.set(cacheKey(organizationId, key), keyset)
      }
      byObject.set(key, keyset)
      return keyset
    },
  }
}

function keysetOf(organizationId: string, secret: Buffer): OrganizationKeyset {
  const hmacFor = (use: string) => hmacSha256(deriveKey(secret, noSalt, `annals/${use}/v1`))
  // By the key itself: what was derived from a period key goes with it.
  const wrappingKeys = new WeakMap<PeriodKey, Buffer>()
  return {
    organizationId,
    index: hmacFor('index'),
    fingerprint: hmacFor('fingerprint'),
    intake: hmacFor('intake'),
    subjectWrappingKey(period) {
      let key = wrappingKeys.get(period)
      if (key === undefined) {
        key = deriveKey(secret, period.secret, 'annals/wrap/v1')
        wrappingKeys.set(period, key)
      }
      return key
    },
  }
}
