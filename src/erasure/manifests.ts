/**
 * What an erasure leaves as its proof, apart from the database: two manifests, each an RFC 8785 JSON text, named by its
 * SHA-256. Pure but for the hash.
 *
 *     <org>/erasures/<requestId>.subjects.json
 *         {"kind":"annals/erasure/subjects","organizationId":…,"requestId":…,"restricted":[[eventId,slot],…],
 *          "subjects":["sub_…",…],"v":1}
 *     <org>/erasures/<requestId>.text.json
 *         {"exempt":[[eventId,slot],…],"kept":[[eventId,slot],…],"kind":"annals/erasure/text","organizationId":…,
 *          "removed":[[eventId,slot,commitment],…],"requestId":…,"v":1}
 *     <org>/erasures/<requestId>.released.<SHA-256>.json       of the second form, with nothing kept: what goes later
 *
 * `subjects` covers every `actor` and `target/<i>` in leaves before that of `annals.subject.erasure_started` whose
 * committed reference it names, but for the blocks in `restricted`, which wait under the request's own key. `removed`
 * covers single fields in leaves before that of `annals.subject.erased`; `kept` names those that mention the person and
 * stay (another's text that no reviewer chose, and text of exempt or held events: those of the latter that go with the
 * exception stand in `exempt`, too). Commitments are unpadded base64url. Every list is sorted. No manifest
 * holds an identifier.
 *
 * The hash of each stands in the metadata of a sealed event, beside the principals who asked and approved: `manifest`
 * (64 hex digits), `submitter`, `approver`.
 */
import { hash } from 'node:crypto'
import type { Readable } from 'node:stream'
import { Readable as Stream } from 'node:stream'
import { canonicalJson } from '../events/canonical-json.js'
import type { JsonValue } from '../events/contract.js'
import type { ErasureReference } from './contract.js'

export interface FieldName {
  readonly eventId: string
  readonly slot: string
}

export interface RemovedField extends FieldName {
  /** 32 bytes. */
  readonly commitment: Uint8Array
}

export interface Manifest {
  readonly path: string
  readonly bytes: Buffer
  /** 64 hex digits. */
  readonly sha256: string
}

export type ManifestKind = 'subjects' | 'text'

export const manifestPath = ({ organizationId, requestId }: ErasureReference, kind: ManifestKind): string =>
  `${organizationId}/erasures/${requestId}.${kind}.json`

export function subjectManifest(
  request: ErasureReference,
  subjects: readonly string[],
  restricted: readonly FieldName[],
): Manifest {
  const body = {
    v: 1,
    kind: 'annals/erasure/subjects',
    organizationId: request.organizationId,
    requestId: request.requestId,
    subjects: [...subjects].sort(),
    restricted: namesOf(restricted),
  }
  return manifestOf(manifestPath(request, 'subjects'), body)
}

export function textManifest(
  request: ErasureReference,
  removed: readonly RemovedField[],
  kept: readonly FieldName[],
  exempt: readonly FieldName[] = [],
): Manifest {
  return manifestOf(manifestPath(request, 'text'), textBody(request, removed, kept, exempt))
}

/** What an exception had kept and goes with its end: named by its own hash, since there may be several. */
export function releasedManifest(request: ErasureReference, removed: readonly RemovedField[]): Manifest {
  const { bytes, sha256 } = manifestOf('', textBody(request, removed, [], []))
  return { path: releasedManifestPath(request, sha256), bytes, sha256 }
}

export const releasedManifestPath = (
  { organizationId, requestId }: ErasureReference,
  sha256: string,
): string => `${organizationId}/erasures/${requestId}.released.${sha256}.json`

function textBody(
  request: ErasureReference,
  removed: readonly RemovedField[],
  kept: readonly FieldName[],
  exempt: readonly FieldName[],
) {
  return {
    v: 1,
    kind: 'annals/erasure/text',
    organizationId: request.organizationId,
    requestId: request.requestId,
    removed: sorted(
      removed.map(({ eventId, slot, commitment }) => [
        eventId,
        slot,
        Buffer.from(commitment).toString('base64url'),
      ]),
    ),
    kept: namesOf(kept),
    exempt: namesOf(exempt),
  }
}

const namesOf = (fields: readonly FieldName[]) => sorted(fields.map(({ eventId, slot }) => [eventId, slot]))

const sorted = (rows: string[][]): string[][] =>
  rows.sort((a, b) => (a.join('\0') < b.join('\0') ? -1 : a.join('\0') > b.join('\0') ? 1 : 0))

function manifestOf(path: string, body: JsonValue): Manifest {
  const bytes = Buffer.from(canonicalJson(body))
  return { path, bytes, sha256: hash('sha256', bytes, 'hex') }
}

/** The bytes as a source for an archive store. */
export const sourceOf = (bytes: Uint8Array) => (): Readable => Stream.from([Buffer.from(bytes)])
