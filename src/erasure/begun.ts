/**
 * What a request that is being erased works with: whom it is about, what is searched for, and who stands behind it. All of
 * it is fixed with the intent; every step opens it anew.
 */
import type { MongoClient } from 'mongodb'
import type { OrganizationKeyset } from '../keys/organization-keys.js'
import type { PeriodKeys } from '../keys/period-keys.js'
import { KeyError, openSeal, seal } from '../keys/wrapping.js'
import { inTransaction } from '../mongo/transaction.js'
import type { SubjectDirectory } from '../subjects/directory.js'
import type { Fence, FencedBy } from '../subjects/fence.js'
import type { ErasureIdentifier, ErasureReference, OpenedErasureRequest } from './contract.js'
import type { ErasureProgress, ErasureProgressDocument } from './progress.js'
import { createRequestKey, openRequestKey, restrictedName, workName } from './sealed.js'
import { ambiguousIn, fencedSubjects, resolveAll, searchedIdentifiers } from './whom.js'

export interface BegunDependencies {
  readonly client: MongoClient
  readonly progress: ErasureProgress
  readonly fence: Fence
  readonly directory: Pick<SubjectDirectory, 'find'>
  readonly periods: PeriodKeys
}

/** Nobody but who submitted the request has approved it: trying again cannot help. */
export class NotApprovedError extends Error {
  override readonly name = 'NotApprovedError'

  constructor() {
    super('an erasure is to begin that no second principal has approved')
  }
}

/** Who asked and who approved. @throws NotApprovedError */
export function principalsOf({ submitter, approver }: Pick<OpenedErasureRequest, 'submitter' | 'approver'>) {
  if (approver === null || approver === submitter) throw new NotApprovedError()
  return { submitter, approver }
}

export const fencedBy = (
  keyset: OrganizationKeyset,
  { requestId, subjects }: Pick<ErasureProgressDocument, 'requestId' | 'subjects'>,
): FencedBy => ({ keyset, requestId, references: subjects })

const identifiersPurpose = ({ organizationId, requestId }: ErasureReference) =>
  `annals/erasure/v1/identifiers/${organizationId}/${requestId}`

/** Fixes whom it is about, and writes it down with the intent; a request that has begun goes on with what it began with. */
export async function begin(
  deps: BegunDependencies,
  opened: OpenedErasureRequest,
  keyset: OrganizationKeyset,
): Promise<ErasureProgressDocument> {
  const { progress, fence, directory } = deps
  const begun = await progress.find(opened)
  if (begun !== null) return begun
  const resolved = await resolveAll(directory, keyset, opened.identifiers)
  const subjects = fencedSubjects(opened, resolved)
  const by = fencedBy(keyset, { requestId: opened.requestId, subjects })
  const keys = await fence.openAll(by)
  const known = await fence.identifiersOf(by, keys)
  const searched = await searchedIdentifiers(directory, keyset, opened.identifiers, known, subjects)
  const ambiguous = ambiguousIn(resolved).filter((position) =>
    (resolved[position] ?? []).some((reference) => !subjects.includes(reference)),
  )
  await beginPinned(deps, opened, keyset, {
    subjects,
    periods: keys.map(({ period }) => period),
    identifiers: Buffer.from(JSON.stringify({ searched, ambiguous })),
  })
  return progress.read(opened)
}

/** Makes the request's keys and stores them, while no rotation can leave the period that they are wrapped under. */
async function beginPinned(
  { client, progress, periods }: BegunDependencies,
  request: ErasureReference,
  keyset: OrganizationKeyset,
  {
    subjects,
    periods: wrappedUnder,
    identifiers,
  }: {
    readonly subjects: readonly string[]
    readonly periods: readonly number[]
    readonly identifiers: Buffer
  },
): Promise<void> {
  await periods.refresh()
  const { period } = periods.current
  const work = createRequestKey(keyset, periods, workName(request))
  const started = {
    subjects,
    workKey: work.wrapped,
    sealedIdentifiers: seal(work.key, identifiers, identifiersPurpose(request)),
    restrictedKey: createRequestKey(keyset, periods, restrictedName(request)).wrapped,
    restrictedPeriods: [period],
    keyPeriods: [...new Set([period, ...wrappedUnder])].sort((a, b) => a - b),
  }
  await inTransaction(client, async (session) => {
    await periods.pin(period, session)
    await progress.begin(request, started, session)
  })
}

/** What the request searches for, and which positions lead to others too. @throws KeyError once they are forgotten */
export function searchedBy(
  periods: PeriodKeys,
  request: ErasureReference,
  keyset: OrganizationKeyset,
  { workKey, sealedIdentifiers }: ErasureProgressDocument,
): { readonly searched: readonly ErasureIdentifier[]; readonly ambiguous: readonly number[] } {
  if (workKey === undefined || sealedIdentifiers === undefined)
    throw new KeyError('malformed_key', 'the identifiers of an erasure that goes on are gone')
  const key = openRequestKey(keyset, periods, workName(request), workKey)
  // Sealed by this very file: what opens is what it wrote.
  return JSON.parse(openSeal(key, sealedIdentifiers, identifiersPurpose(request)).toString('utf8')) as {
    searched: ErasureIdentifier[]
    ambiguous: number[]
  }
}
