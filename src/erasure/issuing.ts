/**
 * Issues the certificate of an erasure, once: what is issued is kept beside the ledger, and handed out as the same bytes
 * ever after. If the process dies before it is kept, the next attempt issues it; after that it finds it.
 */
import type { CertificateKeys } from '../certificates/keys.js'
import type { CertificateProver } from '../certificates/proofs.js'
import { signCertificate } from '../certificates/sign.js'
import type { CertificateStore, StoredCertificate } from '../certificates/store.js'
import type { DeliveryStore } from '../delivery/store.js'
import type { EventFinder } from '../events/finding.js'
import { actionFits } from '../retention/policy.js'
import {
  erasureCertificate,
  erasureCertificateFileSchema,
  releaseProofName,
  type KeptEvents,
} from './certificate.js'
import type { ErasureReference, Exemption } from './contract.js'
import { keptBy, manifestsOf } from './kept.js'
import type { ErasureLedger } from './ledger.js'
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
  /**
   * A further one, once something went that the newest says is kept: it replaces that one, and names it. Of several
   * attempts all get the same.
   * @throws as `issue` does; Error where none was issued
   */
  revise(progress: ErasureProgressDocument, residuals: readonly Residual[]): Promise<IssuedCertificate>
  /** The newest one; undefined before the first. @throws ArchiveStoreError */
  find(request: ErasureReference): Promise<StoredCertificate | undefined>
}

export interface IssuedCertificate extends StoredCertificate {
  readonly outcome: 'completed' | 'completed_with_exceptions'
  /** How many releases it knows of. */
  readonly releases: number
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

const nothing = () => undefined
const firstVersion = 1
const nameOf = ({ organizationId, requestId }: ErasureReference) => ({ organizationId, id: requestId })
export function createErasureCertificates(deps: IssuingDependencies): ErasureCertificates {
  const now = deps.now ?? (() => new Date())

  async function make(
    progress: ErasureProgressDocument,
    residuals: readonly Residual[],
    { version, supersedes }: { readonly version: number; readonly supersedes: string | null },
  ): Promise<IssuedCertificate> {
    const { startedEventId, erasedEventId, releases = [] } = progress
    if (startedEventId === undefined || erasedEventId === undefined)
      throw new Error('a certificate was to be issued before the erasure was sealed')
    const request = await deps.requests.find(progress)
    if (request === null) throw new Error('a certificate was to be issued for a request that is not there')
    const { text } = await manifestsOf(deps, progress)
    const proofs = await deps.prover.prove(progress.organizationId, {
      erasureStarted: startedEventId,
      erased: erasedEventId,
      ...Object.fromEntries(
        releases.map(({ eventId }, position) => {
          if (eventId === undefined) throw new Error('a certificate was to name a release that is not sealed')
          return [releaseProofName(position + 1), eventId]
        }),
      ),
    })
    const { erasureStarted, erased } = proofs
    if (erasureStarted === undefined || erased === undefined)
      throw new Error('what was to be proved for a certificate was not')
    const body = erasureCertificate({
      issuer: deps.keys.issuer,
      version,
      supersedes,
      issuedAt: now(),
      request,
      progress,
      text: { removed: text.removed.length, kept: text.kept.length },
      kept: await keptEvents(progress, request),
      recipients: await deps.deliveries.outcomesOf(progress),
      residuals,
      proofs: { ...proofs, erasureStarted, erased },
    })
    const bytes = await signCertificate(body, await deps.keys.signers())
    return issued(await deps.store.put(nameOf(progress), version, bytes))
  }

  /** Events of which something is kept still, by why: the first exemption that covers it, else a hold. */
  async function keptEvents(
    progress: ErasureProgressDocument,
    { exempt }: ErasureRequestDocument,
  ): Promise<KeptEvents[]> {
    const counts = new Map<Exemption | undefined, number>()
    for await (const { event } of keptBy(deps, progress, nothing)) {
      const { action, category } = event
      const why = exempt.find(({ class: kind }) => kind === category || actionFits(kind, action))
      counts.set(why, (counts.get(why) ?? 0) + 1)
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
      if (newest !== undefined) return issued(newest)
      return make(progress, residuals, { version: firstVersion, supersedes: null })
    },
    async revise(progress, residuals) {
      const newest = await deps.store.newest(nameOf(progress))
      if (newest === undefined) throw new Error('a certificate was to be revised that was not issued')
      const known = issued(newest)
      if (known.releases >= (progress.releases ?? []).length) return known
      const { version, sha256 } = newest
      return make(progress, residuals, { version: version + 1, supersedes: sha256 })
    },
    find: (request) => deps.store.newest(nameOf(request)),
  }
}

/** What is kept counts, and not what was made: another attempt may have been quicker. */
function issued(stored: StoredCertificate): IssuedCertificate {
  const { outcome, releases } = read(stored).certificate
  return { ...stored, outcome, releases: releases.length }
}

const read = ({ bytes }: StoredCertificate) =>
  erasureCertificateFileSchema.parse(JSON.parse(bytes.toString('utf8')))
