/** An erasure that has come to its certificate, on a real database and a real log, without the months in between. */
import type { Core } from '../../src/composition.js'
import { createCompleting } from '../../src/erasure/completing.js'
import type { ErasureIdentifier, ErasureReference, Exemption } from '../../src/erasure/contract.js'
import type { ReleasingDependencies } from '../../src/erasure/releasing.js'
import { createRevisedNote } from '../../src/erasure/revising.js'
import type { ErasureRequestDocument } from '../../src/erasure/store.js'
import { inTransaction } from '../../src/mongo/transaction.js'
import { erasingRun, type ErasingRun } from './erasing.js'

const yearMs = 365 * 86_400_000
export const sevenDays = () => Promise.resolve(7)

/** What is stored of a request that two officers agreed on, once it waits for what remains. */
export async function storeRequest(core: Core, run: ErasingRun, more: Partial<ErasureRequestDocument> = {}) {
  const { organizationId, requestId, opened } = run
  const at = new Date()
  const { submitter, approver } = opened
  const line = { at, by: approver, state: 'review' } as const
  const document: ErasureRequestDocument = {
    _id: `${organizationId}/${requestId}`,
    organizationId,
    requestId,
    version: 9,
    state: 'awaiting_expiry',
    resumeAt: null,
    submittedAt: at,
    submitter,
    receivedAt: at,
    receivedOffsetMinutes: 0,
    ground: '17(1)(b)',
    jointFreeText: opened.jointFreeText,
    identifierKinds: opened.identifiers.map(({ kind }) => kind),
    recipientCount: 0,
    policy: { version: 1, coolingOffHours: 0, retentionVersion: 0 },
    key: null,
    sealed: null,
    words: [],
    bodyFingerprint: null,
    dueAt: new Date(at.getTime() + 30 * 86_400_000),
    extendedAt: null,
    remindedFor: null,
    overdueFor: null,
    approver,
    exempt: opened.exempt,
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
    evidence: [
      { ...line, event: 'submitted', by: submitter },
      { ...line, event: 'identity_verified' },
      { ...line, event: 'approve' },
    ],
    endedAt: null,
    ...more,
  }
  await inTransaction(core.client, (session) => core.erasures.store.insert(document, session))
}

/** Completing as it goes a year later, when the keys of every period are gone. */
export const completingLater = (core: Core, more: Partial<Parameters<typeof createCompleting>[0]> = {}) =>
  createCompleting({
    progress: core.erasing.deps.progress,
    certificates: core.erasing.certificates,
    periods: { isDeleted: () => Promise.resolve(true) },
    oplogs: () => Promise.resolve([{ oldest: new Date(Date.now() + yearMs) }]),
    backupDays: 30,
    now: () => new Date(Date.now() + yearMs),
    ...more,
  })

/** What releases are carried out and certified with then. */
export const releasingLater = (core: Core): ReleasingDependencies => ({
  ...core.erasing.deps,
  requests: core.erasures.store,
  finder: core.finder,
  completing: completingLater(core, {
    noteRevised: createRevisedNote({
      client: core.client,
      store: core.erasures.store,
      events: core.systemEvents,
    }),
  }),
})

/** Erases a person, and issues the certificate. @returns its bytes */
export async function certified(
  core: Core,
  organizationId: string,
  identifiers: readonly ErasureIdentifier[],
  exempt: readonly Exemption[] = [],
): Promise<{ readonly request: ErasureReference; readonly text: string }> {
  const run = erasingRun(core, organizationId, identifiers, { exempt })
  await run.scope()
  const outcome = await run.toVerified()
  if (outcome !== 'clean') throw new Error(`the erasure did not end: ${outcome}`)
  await storeRequest(core, run)
  const completed = await completingLater(core).complete(run, sevenDays)
  await core.db
    .collection('erasureRequests')
    .updateOne({ organizationId, requestId: run.requestId }, { $set: { state: completed.result } })
  const stored = await core.erasing.certificates.find(run)
  if (stored === undefined) throw new Error('no certificate was issued')
  return { request: run, text: stored.bytes.toString('utf8') }
}
