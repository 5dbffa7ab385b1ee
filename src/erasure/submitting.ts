/**
 * Submitting a request. It begins with the workflow: while Temporal is away nothing is stored, and once a request is
 * stored its workflow is there.
 */
import type { MongoClient } from 'mongodb'
import { AnnalsError } from '../errors.js'
import { canonicalJson } from '../events/canonical-json.js'
import type { JsonValue, SystemEventWriter } from '../events/contract.js'
import { newId } from '../ids.js'
import type { OrganizationKeyset } from '../keys/organization-keys.js'
import type { PeriodKeys } from '../keys/period-keys.js'
import { PeriodMovedError } from '../keys/period-state.js'
import { inTransaction } from '../mongo/transaction.js'
import { isDuplicateKey } from '../mongo/unavailable.js'
import { normaliseEmail } from '../subjects/policy.js'
import type { ErasureCall, ErasureOrganization } from './calls.js'
import type {
  ErasureGround,
  ErasureIdentifier,
  ErasureReference,
  JointFreeText,
  Recipient,
} from './contract.js'
import { dueMs, type Receipt } from './deadlines.js'
import { eventOf } from './changes.js'
import { retryAfterSeconds, type StartRequestWorkflow } from './request-workflow.js'
import { createRequestKey, sealPrivatePart } from './sealed.js'
import { erasureKey, type ErasureRequestDocument, type ErasureStore } from './store.js'
import { viewOf, type ErasureView } from './view.js'

export interface SubmitErasure {
  readonly identifiers: readonly ErasureIdentifier[]
  readonly ground: ErasureGround
  readonly requester: string
  readonly channel: string
  readonly received: Receipt
  readonly jointFreeText: JointFreeText
  readonly recipients: readonly Recipient[]
}

export interface SubmissionDependencies {
  readonly client: MongoClient
  readonly store: ErasureStore
  readonly events: Pick<SystemEventWriter, 'write' | 'writeInTransaction'>
  readonly periods: PeriodKeys
  /** @throws AnnalsError `not_found` | `wrong_region` */
  readonly organizationOf: (organizationId: string) => Promise<ErasureOrganization>
  /** The id that stands for an idempotency key. */
  readonly deriveId: (keyset: OrganizationKeyset, prefix: string, key: string) => string
  readonly now?: () => Date
}

const maxSubmitAttempts = 5

export interface Submission {
  /**
   * Submits a request. One about the same identifiers as an open one is stored as its duplicate, without identifiers.
   * @returns the request, and whether an earlier call under the same idempotency key had submitted it
   * @throws AnnalsError `not_found` | `temporal_unavailable` (nothing is stored) | `idempotency_conflict`
   */
  submit(call: ErasureCall, body: SubmitErasure): Promise<{ erasure: ErasureView; replayed: boolean }>
}

export function createSubmission(
  deps: SubmissionDependencies,
  startWorkflow: StartRequestWorkflow,
): Submission {
  const { client, store, events, periods } = deps
  const now = deps.now ?? (() => new Date())

  return {
    async submit(call, body) {
      const { organizationId, principal, idempotencyKey } = call
      const organization = await deps.organizationOf(organizationId)
      const { keyset } = organization
      const requestId =
        idempotencyKey === undefined
          ? newId('erasure')
          : deps.deriveId(keyset, 'erasure', `erasure/submit\0${idempotencyKey}`)
      const request = { organizationId, requestId }
      const bodyFingerprint = keyset.fingerprint(`erasure/submit\0${canonicalJson(asJson(body))}`)
      const known = idempotencyKey === undefined ? null : await store.find(request)
      if (known !== null) return { erasure: replay(known, principal, bodyFingerprint), replayed: true }

      const identifiersKey = keyset
        .fingerprint(`erasure/identifiers\0${identifierSet(body.identifiers)}`)
        .toString('base64url')
      const make = () =>
        newDocument(request, principal, organization, body, { at: now(), bodyFingerprint, identifiersKey })
      let document = make()
      for (let attempt = 0; attempt < maxSubmitAttempts; attempt += 1) {
        const first = await store.findByIdentifiers(organizationId, identifiersKey)
        if (first !== null && first.requestId !== requestId) {
          const erasure = await submitDuplicate(document, first)
          return { erasure, replayed: false }
        }
        await startWorkflow(request, document.dueAt, false)
        try {
          await insert(document, null)
          return { erasure: viewOf(document), replayed: false }
        } catch (error) {
          if (error instanceof PeriodMovedError) {
            await periods.refresh()
            document = make()
            continue
          }
          if (!isDuplicateKey(error)) throw error
        }
        // Somebody was quicker: with the same idempotency key, or about the same person.
        const taken = await store.find(request)
        if (taken !== null) return { erasure: replay(taken, principal, bodyFingerprint), replayed: true }
      }
      // Each time another request about the person had begun, and had ended when it was looked at.
      throw new AnnalsError('unavailable', 'Another request about the person is just ending; try again.', {
        retryAfterSeconds,
      })
    },
  }

  async function insert(document: ErasureRequestDocument, first: ErasureReference | null): Promise<void> {
    await inTransaction(client, async (session) => {
      // No key is stored under a period whose key a rotation is about to delete.
      if (document.key !== null) await periods.pin(document.key.period, session)
      await store.insert(document, session)
      if (first !== null) await store.addDuplicate(first, document.requestId, session)
      await events.writeInTransaction(
        eventOf(document, 'annals.erasure.submitted', document.submittedAt, document.submitter, {
          ground: document.ground,
          receivedAt: document.receivedAt.toISOString(),
          dueAt: document.dueAt.toISOString(),
          ...(first === null ? {} : { duplicateOf: first.requestId }),
        }),
        session,
      )
    })
  }

  async function submitDuplicate(
    document: ErasureRequestDocument,
    first: ErasureRequestDocument,
  ): Promise<ErasureView> {
    const { identifiersKey: _gone, ...rest } = document
    const { submittedAt: at, submitter: by } = document
    const duplicate: ErasureRequestDocument = {
      ...rest,
      state: 'duplicate',
      duplicateOf: first.requestId,
      key: null,
      sealed: null,
      bodyFingerprint: null,
      endedAt: at,
      evidence: [...document.evidence, { event: 'matched_duplicate', at, by, state: 'duplicate' }],
    }
    try {
      await insert(duplicate, first)
    } catch (error) {
      const taken = isDuplicateKey(error) ? await store.find(document) : null
      if (taken === null) throw error
      return viewOf(taken)
    }
    return viewOf(duplicate)
  }

  function newDocument(
    request: ErasureReference,
    submitter: string,
    organization: ErasureOrganization,
    body: SubmitErasure,
    rest: { readonly at: Date; readonly bodyFingerprint: Buffer; readonly identifiersKey: string },
  ): ErasureRequestDocument {
    const { key, wrapped } = createRequestKey(organization.keyset, periods, request)
    const { identifiers, requester, channel, recipients, received } = body
    const { at, bodyFingerprint, identifiersKey } = rest
    return {
      _id: erasureKey(request.organizationId, request.requestId),
      ...request,
      version: 1,
      state: 'received',
      resumeAt: null,
      submittedAt: at,
      submitter,
      receivedAt: new Date(received.atMs),
      receivedOffsetMinutes: received.offsetMinutes,
      ground: body.ground,
      jointFreeText: body.jointFreeText,
      identifierKinds: identifiers.map(({ kind }) => kind),
      recipientCount: recipients.length,
      policy: {
        version: organization.version,
        coolingOffHours: organization.coolingOffHours,
        retentionVersion: organization.retentionVersion,
      },
      key: wrapped,
      sealed: sealPrivatePart(key, request, { identifiers, requester, channel, recipients }),
      words: [],
      bodyFingerprint,
      identifiersKey,
      dueAt: new Date(dueMs(received, false)),
      extendedAt: null,
      remindedFor: null,
      overdueFor: null,
      approver: null,
      exempt: [],
      confirmed: [],
      denialGround: null,
      coolingOffEndsAt: null,
      recheckAt: null,
      expiryAt: null,
      operator: null,
      scope: null,
      attestations: [],
      duplicateOf: null,
      duplicates: [],
      evidence: [{ event: 'submitted', at, by: submitter, state: 'received', ground: body.ground }],
      endedAt: null,
    }
  }
}

/** Who submitted it first gets it again; after its end, when the body can be compared with nothing any more, too. */
function replay(known: ErasureRequestDocument, principal: string, bodyFingerprint: Buffer): ErasureView {
  const same = known.bodyFingerprint === null || known.bodyFingerprint.equals(bodyFingerprint)
  if (!same || known.submitter !== principal) {
    throw new AnnalsError('idempotency_conflict', 'The idempotency key was used with another body.')
  }
  return viewOf(known)
}

/** The same for the same persons, however the identifiers are written and ordered. */
function identifierSet(identifiers: readonly ErasureIdentifier[]): string {
  const each = identifiers.map((identifier) =>
    identifier.kind === 'id'
      ? ['id', identifier.type.toLowerCase(), identifier.value]
      : [
          identifier.kind,
          identifier.kind === 'email' ? normaliseEmail(identifier.value) : identifier.value.trim(),
        ],
  )
  return JSON.stringify([...new Set(each.map((one) => JSON.stringify(one)))].sort())
}

function asJson({ identifiers, recipients, received, ...rest }: SubmitErasure): JsonValue {
  return {
    ...rest,
    received: { ...received },
    identifiers: identifiers.map((identifier) => ({ ...identifier })),
    recipients: recipients.map((recipient) => ({ ...recipient })),
  }
}
