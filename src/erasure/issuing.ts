/**
 * Issues the certificate of an erasure, once: what is issued is kept beside the ledger, and handed out as the same bytes
 * ever after. If the process dies before it is kept, the next attempt issues it; after that it finds it.
 */
import { z } from 'zod'
import type { CertificateKeys } from '../certificates/keys.js'
import type { CertificateProver } from '../certificates/proofs.js'
import { signCertificate } from '../certificates/sign.js'
import type { CertificateStore, StoredCertificate } from '../certificates/store.js'
import type { DeliveryStore } from '../delivery/store.js'
import type { EventFinder } from '../events/finding.js'
import { actionFits } from '../retention/policy.js'
import { erasureCertificate, erasureCertificateFileSchema, type KeptEvents } from './certificate.js'
import type { ErasureReference, Exemption } from './contract.js'
import { LedgerError, type ErasureLedger } from './ledger.js'
import { manifestPath, type ManifestKind } from './manifests.js'
import type { ErasureProgressDocument } from './progress.js'
import type { Residual } from './residuals.js'
import type { ErasureRequestDocument, ErasureStore } from './store.js'

export interface ErasureCertificates {
  /**
   * The certificate of an erasure whose residues are over.
   * @param progress as its steps left it
   * @throws ArchiveStoreError; LedgerError where a manifest is not the one that was sealed; AnnalsError
   */
  issue(progress: ErasureProgressDocument, residuals: readonly Residual[]): Promise<IssuedCertificate>
  /** The newest one; undefined before the first. @throws ArchiveStoreError */
  find(request: ErasureReference): Promise<StoredCertificate | undefined>
}

export interface IssuedCertificate extends StoredCertificate {
  readonly outcome: 'completed' | 'completed_with_exceptions'
}

export interface IssuingDependencies {
  readonly requests: Pick<ErasureStore, 'find'>
  readonly deliveries: Pick<DeliveryStore, 'outcomesOf'>
  readonly ledger: Pick<ErasureLedger, 'manifest'>
  readonly finder: EventFinder
  readonly prover: CertificateProver
  readonly keys: CertificateKeys
  readonly store: CertificateStore
  readonly now?: () => Date
}

const pageSize = 500
const firstVersion = 1
const nameOf = ({ organizationId, requestId }: ErasureReference) => ({ organizationId, id: requestId })
const names = z.array(z.tuple([z.string(), z.string()]))
const subjectManifestSchema = z.object({ restricted: names })
const textManifestSchema = z.object({ kept: names, removed: z.array(z.unknown()) })

export function createErasureCertificates(deps: IssuingDependencies): ErasureCertificates {
  const now = deps.now ?? (() => new Date())

  async function manifestOf<Body>(
    progress: ErasureProgressDocument,
    kind: ManifestKind,
    schema: z.ZodType<Body>,
  ): Promise<Body> {
    const bytes = await deps.ledger.manifest(manifestPath(progress, kind))
    const parsed = schema.safeParse(bytes === undefined ? undefined : JSON.parse(bytes.toString('utf8')))
    if (!parsed.success) throw new LedgerError('a manifest of an erasure is not there, or is none')
    return parsed.data
  }

  async function make(
    progress: ErasureProgressDocument,
    residuals: readonly Residual[],
  ): Promise<IssuedCertificate> {
    const { startedEventId, erasedEventId } = progress
    if (startedEventId === undefined || erasedEventId === undefined)
      throw new Error('a certificate was to be issued before the erasure was sealed')
    const request = await deps.requests.find(progress)
    if (request === null) throw new Error('a certificate was to be issued for a request that is not there')
    const { restricted } = await manifestOf(progress, 'subjects', subjectManifestSchema)
    const text = await manifestOf(progress, 'text', textManifestSchema)
    const { erasureStarted, erased } = await deps.prover.prove(progress.organizationId, {
      erasureStarted: startedEventId,
      erased: erasedEventId,
    })
    if (erasureStarted === undefined || erased === undefined)
      throw new Error('what was to be proved for a certificate was not')
    const body = erasureCertificate({
      issuer: deps.keys.issuer,
      version: firstVersion,
      supersedes: null,
      issuedAt: now(),
      request,
      progress,
      text: { removed: text.removed.length, kept: text.kept.length },
      kept: await keptEvents(restricted, request),
      recipients: await deps.deliveries.outcomesOf(progress),
      residuals,
      proofs: { erasureStarted, erased },
    })
    const bytes = await signCertificate(body, await deps.keys.signers())
    return issued(await deps.store.put(nameOf(progress), firstVersion, bytes))
  }

  /** Events of which a block is kept, by why: the first exemption that covers it, else a hold. */
  async function keptEvents(
    restricted: z.infer<typeof names>,
    { organizationId, exempt }: ErasureRequestDocument,
  ): Promise<KeptEvents[]> {
    const eventIds = [...new Set(restricted.map(([eventId]) => eventId))]
    const counts = new Map<Exemption | undefined, number>()
    for (let at = 0; at < eventIds.length; at += pageSize) {
      const found = await deps.finder.find(organizationId, eventIds.slice(at, at + pageSize))
      for (const { action, category } of found.values()) {
        const why = exempt.find(({ class: kind }) => kind === category || actionFits(kind, action))
        counts.set(why, (counts.get(why) ?? 0) + 1)
      }
    }
    return [...exempt, undefined].flatMap((why): KeptEvents[] => {
      const events = counts.get(why) ?? 0
      if (events === 0) return []
      return why === undefined
        ? [{ reason: 'hold', class: null, ground: null, events }]
        : [{ reason: 'exempt', class: why.class, ground: why.ground, events }]
    })
  }

  return {
    async issue(progress, residuals) {
      const newest = await deps.store.newest(nameOf(progress))
      return newest === undefined ? make(progress, residuals) : issued(newest)
    },
    find: (request) => deps.store.newest(nameOf(request)),
  }
}

/** What is kept counts, and not what was made: another attempt may have been quicker. */
function issued(stored: StoredCertificate): IssuedCertificate {
  const { certificate } = erasureCertificateFileSchema.parse(JSON.parse(stored.bytes.toString('utf8')))
  return { ...stored, outcome: certificate.outcome }
}
