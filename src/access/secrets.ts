/**
 * The secrets of access keys: `annals_<the key id's 26 characters>_<43 base64url characters of 256 random bits>`.
 *
 * Only SHA-256 of the whole text is stored. A slow hash protects what people choose; 256 random bits cannot be
 * guessed whatever the hash, and a fast one is what intake can afford. (`ANNALS_ADMIN_KEY` is the operator's own
 * text: at least 32 characters, and documented to be random.) A lookup by the hash tells nothing by its timing,
 * because who sends a guess does not choose its hash.
 */
import { hash, randomBytes } from 'node:crypto'

/** Makes the secret of a key. It is shown once and kept nowhere. */
export function newSecret(keyId: string): string {
  return `annals_${keyId.slice('key_'.length)}_${randomBytes(32).toString('base64url')}`
}

/** SHA-256 in unpadded base64url: how a secret is stored and looked up. */
export const hashSecret = (secret: string): string => hash('sha256', secret, 'base64url')

const bearer = /^Bearer +([\x21-\x7e]{1,512})$/i

/** The secret in an `Authorization` header, or `undefined` where there is none. */
export const bearerSecret = (authorization: string | undefined): string | undefined =>
  authorization === undefined ? undefined : bearer.exec(authorization)?.[1]
