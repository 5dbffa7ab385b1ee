/**
 * Issues the certificate of an offboarding: once all that can be deleted is gone, and once more when nothing remains. It is
 * kept beside the ledger under the deployment's own name, since what lies under the organization's goes.
 */
import type { CertificateKeys } from '../certificates/keys.js'
import type { CertificateProver } from '../certificates/proofs.js'
import { signCertificate } from '../certificates/sign.js'
import type { CertificateStore, StoredCertificate } from '../certificates/store.js'
import { systemOrganizationId } from '../organizations/contract.js'
import type { LogReader } from '../transparency-log/log-reader.js'
import {
  nothingRemains,
  offboardingCertificate,
  offboardingCertificateFileSchema,
  type OffboardingRemains,
} from './certificate.js'
import type { OffboardingReference } from './contract.js'
import type { OffboardingDocument } from './store.js'

export interface OffboardingCertificates {
  /**
   * The one that says what remains now, unless the newest says the same already.
   * @param offboarding with the steps before it done, and the ids of both sealed events
   * @throws ArchiveStoreError; AnnalsError; Error where one of the events is not sealed
   */
  issue(offboarding: OffboardingDocument, remains: OffboardingRemains): Promise<StoredCertificate>
  /** The newest; undefined before the first. @throws ArchiveStoreError */
  find(offboarding: OffboardingReference): Promise<StoredCertificate | undefined>
}

export interface OffboardingCertificatesDependencies {
  readonly prover: CertificateProver
  readonly keys: CertificateKeys
  readonly store: CertificateStore
  readonly log: Pick<LogReader, 'keys'>
  readonly now?: () => Date
}

const nameOf = ({ offboardingId }: OffboardingReference) => ({
  organizationId: systemOrganizationId,
  id: offboardingId,
})

export function createOffboardingCertificates(
  deps: OffboardingCertificatesDependencies,
): OffboardingCertificates {
  const { prover, keys, store, now = () => new Date() } = deps
  return {
    async issue(offboarding, remains) {
      const { organizationId, startedEventId, eventId, final } = offboarding
      if (startedEventId === undefined || eventId === null)
        throw new Error('an offboarding was to be certified before it was sealed')
      const newest = await store.newest(nameOf(offboarding))
      // Only its end is worth another: until then each day would make one.
      if (newest !== undefined && (!nothingRemains(remains) || read(newest).outcome === 'completed'))
        return newest
      const { started, offboarded } = await prover.prove(systemOrganizationId, {
        started: startedEventId,
        offboarded: eventId,
      })
      if (started === undefined || offboarded === undefined)
        throw new Error('what was to be proved of an offboarding was not')
      const logKeys =
        final === null ? [] : await deps.log.keys({ organizationId, generation: final.generation })
      const certificate = offboardingCertificate({
        issuer: keys.issuer,
        version: (newest?.version ?? 0) + 1,
        supersedes: newest?.sha256 ?? null,
        issuedAt: now(),
        offboarding,
        final: final === null ? null : { ...final, keys: logKeys },
        ...remains,
        proofs: { started, offboarded },
      })
      const bytes = await signCertificate(certificate, await keys.signers())
      return store.put(nameOf(offboarding), certificate.version, bytes)
    },
    find: (offboarding) => store.newest(nameOf(offboarding)),
  }
}

const read = ({ bytes }: StoredCertificate) =>
  offboardingCertificateFileSchema.parse(JSON.parse(bytes.toString('utf8'))).certificate
