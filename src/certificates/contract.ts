/**
 * Certificates: what Annals hands out when a duty is done, signed, so that whoever holds one can check it without Annals.
 *
 * The file is RFC 7515 General JWS JSON, so that every JOSE library verifies it as it is, and one member more, which such
 * a library passes over and people read:
 *
 *     {"certificate": {…},
 *      "payload": "<base64url of the RFC 8785 JSON of `certificate`>",
 *      "signatures": [{"protected": "<base64url of {"alg":"EdDSA","kid":…,"typ":"annals-certificate"}>",
 *                      "signature": "<base64url, 64 bytes>"}]}
 *
 * `kid` is `<ANNALS_LOG_ORIGIN>/certificates+<key id>`, the name and id of a verifier key as C2SP signed-note writes
 * it (transparency-log/note-key.ts). Around a rotation two keys sign. A key of another purpose never makes one: its
 * name is another, and so is what it signs. What counts is the payload; `certificate` must say the same.
 *
 * Every certificate has these members, whatever it is about:
 *
 *     v             1
 *     kind          `annals/<what>/certificate`
 *     issuer        ANNALS_LOG_ORIGIN
 *     organizationId
 *     id            of the request that it is about
 *     version       from 1; a later one replaces an earlier one: `supersedes` is the SHA-256 of that one's file
 *     issuedAt      RFC 3339
 *     proofs        by name: {eventId, action, log: {origin, keys}, receipt, record, event}: a tlog-proof
 *                   (transparency-log/tlog-proof.ts) of a sealed event of Annals' own, its record, its verifiable form
 *                   (events/verifiable.ts), and the log it is in with the verifier keys that this had
 *
 * None holds personal data: ids of requests and principals, counts, dates, codes and hashes.
 */
import type { JsonObject } from '../events/contract.js'

export const certificateType = 'annals-certificate'
export const certificateAlgorithm = 'EdDSA'

/** The name of the keys that sign certificates, beneath the origin of the logs. */
export const certificateKeyName = (logOrigin: string): string => `${logOrigin}/certificates`

/** How a signature names its key. @param keyId eight hex digits */
export const certificateKeyId = (name: string, keyId: string): string => `${name}+${keyId}`

export interface CertificateProof {
  readonly eventId: string
  readonly action: string
  readonly log: { readonly origin: string; readonly keys: readonly string[] }
  readonly receipt: string
  readonly record: string
  readonly event: JsonObject
}

/** What every certificate says; the rest is its kind's. */
export interface CertificateHead {
  readonly v: 1
  readonly kind: string
  readonly issuer: string
  readonly organizationId: string
  readonly id: string
  readonly version: number
  readonly supersedes: string | null
  readonly issuedAt: string
  readonly proofs: Readonly<Record<string, CertificateProof>>
}
