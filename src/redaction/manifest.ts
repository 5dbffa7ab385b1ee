/**
 * What a redaction leaves as its proof, apart from the database: one RFC 8785 JSON text, named by its SHA-256.
 *
 *     <org>/erasures/<redactionId>.fields.json
 *         {"kind":"annals/redaction/fields","organizationId":…,"redactionId":…,
 *          "removed":[[eventId,slot,commitment],…],"v":1}
 *
 * `removed` covers fields in leaves before that of `annals.field.redacted`, whose metadata hold the hash of the manifest
 * (`manifest`, 64 hex digits) beside the principals who asked and approved. Commitments are unpadded base64url; the list
 * is sorted.
 */
import { hash } from 'node:crypto'
import type { Manifest, RemovedField } from '../erasure/manifests.js'
import { canonicalJson } from '../events/canonical-json.js'
import type { RedactionReference } from './contract.js'

export const redactionManifestPath = ({ organizationId, redactionId }: RedactionReference): string =>
  `${organizationId}/erasures/${redactionId}.fields.json`

export function redactionManifest(reference: RedactionReference, removed: readonly RemovedField[]): Manifest {
  const { organizationId, redactionId } = reference
  const rows = removed.map(({ eventId, slot, commitment }) => [
    eventId,
    slot,
    Buffer.from(commitment).toString('base64url'),
  ])
  const body = {
    v: 1,
    kind: 'annals/redaction/fields',
    organizationId,
    redactionId,
    removed: rows.sort((a, b) => (a.join('\0') < b.join('\0') ? -1 : 1)),
  }
  const bytes = Buffer.from(canonicalJson(body))
  return { path: redactionManifestPath(reference), bytes, sha256: hash('sha256', bytes, 'hex') }
}
