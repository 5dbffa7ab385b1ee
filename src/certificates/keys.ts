/**
 * Who signs certificates: keys of their own (keys/signing-keys.ts, purpose `certificate`), one row for the deployment,
 * published to everybody: as verifier keys, the way all others are, and as a JWK set for JOSE libraries.
 */
import type { KeyObject } from 'node:crypto'
import type { SigningKeys } from '../keys/signing-keys.js'
import { sha256 } from '../transparency-log/node-crypto.js'
import { formatVerifierKey, verifierKey } from '../transparency-log/note-key.js'
import { certificateAlgorithm, certificateKeyId, certificateKeyName } from './contract.js'

export interface CertificateSigner {
  /** The `kid` of its signatures. */
  readonly kid: string
  readonly privateKey: KeyObject
}

export interface PublicJwk {
  readonly kty: 'OKP'
  readonly crv: 'Ed25519'
  /** Unpadded base64url, 32 bytes. */
  readonly x: string
  readonly kid: string
  readonly alg: typeof certificateAlgorithm
  readonly use: 'sig'
}

export interface CertificateKeys {
  readonly issuer: string
  /** The keys that sign now, newest first: two of them for a while after a rotation. */
  signers(): Promise<CertificateSigner[]>
  /** The verifier keys as lines, newest first. */
  verifierKeys(): Promise<string[]>
  /** The same as JWKs. */
  jwks(): Promise<PublicJwk[]>
}

export function createCertificateKeys(
  keys: Pick<SigningKeys, 'all' | 'signing'>,
  logOrigin: string,
): CertificateKeys {
  const name = certificateKeyName(logOrigin)
  const keyOf = (publicKey: Uint8Array) => verifierKey(name, 'ed25519', publicKey, sha256)
  const kidOf = (publicKey: Uint8Array) =>
    certificateKeyId(name, keyOf(publicKey).keyId.toString(16).padStart(8, '0'))
  return {
    issuer: logOrigin,
    signers: async () =>
      (await keys.signing('certificate')).map(({ pair }) => ({
        kid: kidOf(pair.publicKey),
        privateKey: pair.privateKey,
      })),
    verifierKeys: async () =>
      (await keys.all('certificate')).map(({ pair }) => formatVerifierKey(keyOf(pair.publicKey))),
    jwks: async () =>
      (await keys.all('certificate')).map(({ pair: { publicKey } }) => ({
        kty: 'OKP',
        crv: 'Ed25519',
        x: Buffer.from(publicKey).toString('base64url'),
        kid: kidOf(publicKey),
        alg: certificateAlgorithm,
        use: 'sig',
      })),
  }
}
