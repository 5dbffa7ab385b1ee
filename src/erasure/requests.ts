/** A stored request, opened: for the erasing steps, and for officers who may see whom it is about. */
import { AnnalsError, notFound } from '../errors.js'
import type { OrganizationKeyset } from '../keys/organization-keys.js'
import type { PeriodKeys } from '../keys/period-keys.js'
import type { ErasureReference, ErasureRequests } from './contract.js'
import { openPrivatePart, openRequestKey, openWords, type PrivatePart } from './sealed.js'
import type { ErasureRequestDocument, ErasureStore } from './store.js'
import type { PersonalView } from './view.js'

export interface RequestOpener extends ErasureRequests {
  /** What `?personal=true` shows; null once the request has ended. @throws KeyError */
  personalOf(document: ErasureRequestDocument): Promise<PersonalView | null>
}

export interface OpenedDocument {
  readonly key: Buffer
  readonly part: PrivatePart
}

export function createErasureRequests(deps: {
  readonly store: ErasureStore
  readonly keysetOf: (organizationId: string) => Promise<OrganizationKeyset>
  readonly periods: PeriodKeys
}): RequestOpener {
  const { store, keysetOf, periods } = deps

  async function opened(document: ErasureRequestDocument): Promise<OpenedDocument | null> {
    if (document.key === null || document.sealed === null) return null
    const keyset = await keysetOf(document.organizationId)
    await periods.ensure([document.key.period])
    const key = openRequestKey(keyset, periods, document, document.key)
    return { key, part: openPrivatePart(key, document, document.sealed) }
  }

  return {
    async open(request) {
      // Before what the step will read: whatever of the request a rotation has wrapped anew by then opens here.
      await periods.refresh()
      const document = await store.find(request)
      if (document === null) throw notFound()
      const found = await opened(document)
      if (found === null) throw new AnnalsError('wrong_state', 'Whom the request was about is gone.')
      const { organizationId, requestId, state, submittedAt, submitter, approver, scope } = document
      return {
        organizationId,
        requestId,
        state,
        submittedAt,
        submitter,
        approver,
        policyVersion: document.policy.version,
        identifiers: found.part.identifiers,
        recipients: found.part.recipients,
        jointFreeText: document.jointFreeText,
        exempt: document.exempt,
        confirmed: document.confirmed,
        scope,
        attestations: document.attestations,
      }
    },

    saveScope: (request: ErasureReference, report) => store.setScope(request, report),

    async personalOf(document) {
      const found = await opened(document)
      if (found === null) return null
      return {
        ...found.part,
        words: document.words.map(({ action, actionId, at, by, sealed }) => ({
          action,
          at: at.toISOString(),
          by,
          words: openWords(found.key, document, actionId, sealed),
        })),
      }
    },
  }
}
