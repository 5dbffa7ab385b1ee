/**
 * Manifests, as those read them who act by what they say: each is the one that was sealed, by its hash, or nothing is done.
 * Who verifies reads them apart from this, and with doubts of another kind (verification/).
 */
import { hash } from 'node:crypto'
import { z } from 'zod'
import { redactionManifestPath } from '../redaction/manifest.js'
import type { ErasureReference } from './contract.js'
import { LedgerError, type ErasureLedger } from './ledger.js'
import { manifestPath, releasedManifestPath, type RemovedField } from './manifests.js'

type Ledger = Pick<ErasureLedger, 'manifest'>

/** Event id and slot. */
export type NamedSlot = readonly [string, string]

export interface RemovedRow extends RemovedField {
  readonly commitment: Buffer
}

const names = z.array(z.tuple([z.string(), z.string()]))
const removed = z.array(z.tuple([z.string(), z.string(), z.base64url()]))
const subjectsSchema = z.object({
  kind: z.literal('annals/erasure/subjects'),
  subjects: z.array(z.string()),
  restricted: names,
})
const textSchema = z.object({
  kind: z.literal('annals/erasure/text'),
  removed,
  kept: names,
  exempt: names.default([]),
})
const fieldsSchema = z.object({ kind: z.literal('annals/redaction/fields'), removed })

async function read<Body>(
  ledger: Ledger,
  path: string,
  sha256: string | undefined,
  schema: z.ZodType<Body>,
): Promise<Body> {
  const bytes = await ledger.manifest(path)
  if (bytes === undefined || sha256 === undefined || hash('sha256', bytes, 'hex') !== sha256)
    throw new LedgerError('a manifest that is named is missing, or another')
  const parsed = schema.safeParse(JSON.parse(bytes.toString('utf8')))
  if (!parsed.success) throw new LedgerError('a manifest that is named is none')
  return parsed.data
}

/** @throws LedgerError, as all of these do, where it is missing, another, or none; ArchiveStoreError */
export const readSubjects = (ledger: Ledger, request: ErasureReference, sha256: string | undefined) =>
  read(ledger, manifestPath(request, 'subjects'), sha256, subjectsSchema)

export const readTexts = (ledger: Ledger, request: ErasureReference, sha256: string | undefined) =>
  read(ledger, manifestPath(request, 'text'), sha256, textSchema)

/** What an exception had kept. */
export const readReleased = async (ledger: Ledger, request: ErasureReference, sha256: string | undefined) =>
  rowsOf(await read(ledger, releasedManifestPath(request, sha256 ?? ''), sha256, textSchema))

/** What a redaction took. */
export const readRedacted = async (
  ledger: Ledger,
  { organizationId, requestId: redactionId }: ErasureReference,
  sha256: string | undefined,
) => rowsOf(await read(ledger, redactionManifestPath({ organizationId, redactionId }), sha256, fieldsSchema))

export const rowsOf = ({ removed: rows }: Pick<z.infer<typeof textSchema>, 'removed'>): RemovedRow[] =>
  rows.map(([eventId, slot, commitment]) => ({
    eventId,
    slot,
    commitment: Buffer.from(commitment, 'base64url'),
  }))

/** Slots by their event. */
export function slotsOf(named: readonly NamedSlot[]): ReadonlyMap<string, ReadonlySet<string>> {
  const slots = new Map<string, Set<string>>()
  for (const [eventId, slot] of named) slots.set(eventId, (slots.get(eventId) ?? new Set<string>()).add(slot))
  return slots
}
