/**
 * Erasures, applied again: to a database that was restored from before them. The journal says which, the manifests beside
 * it say what went; identifiers are gone, and are not needed.
 *
 *     all        the subjects are fenced, and detached from the directory ─ leases run out, once for all of them
 *     begun      their pending events get their leaves ─ what was kept is encrypted anew under a key of the request
 *                ─ keys destroyed ─ blocks removed ─ logged
 *     erased     the listed fields removed ─ logged ─ the request and its progress say so
 *     released   the listed fields, which were kept until then, removed ─ logged ─ the progress says so
 *     redacted   the listed fields removed ─ logged
 *     offboarded the organization’s key destroyed ─ every row of it removed; what the journal says of it before is passed
 *                over: it goes with the rest, and its manifests are no more
 *
 * Then the database moves on in the journal. Every step finds what an earlier attempt did. What an entry of this kind is
 * logged by is new in the log: the leaves that said so are lost with the newer database, and whoever verifies needs one.
 */
import type { Collection } from 'mongodb'
import type { SystemEventWriter } from '../events/contract.js'
import type { OrganizationKeyset } from '../keys/organization-keys.js'
import { collectionNames } from '../mongo/collections.js'
import { inTransaction } from '../mongo/transaction.js'
import type { FieldRemoval } from '../redaction/removal.js'
import { subjectDocumentId, subjectStore } from '../subjects/store.js'
import type { Sealer } from '../transparency-log/sealer.js'
import { isFinal, type ErasureReference } from './contract.js'
import { drainSubjects } from './erasure-leaves.js'
import type { ErasureJournal, JournalEntry } from './journal.js'
import { keepRestricted, noteBegun, type KeepingAgainDependencies } from './keeping-again.js'
import { LedgerError, type ErasureLedger } from './ledger.js'
import type { RemovedField } from './manifests.js'
import { createTextMatcher } from './matching.js'
import { readReleased, readRedacted, readSubjects, readTexts, rowsOf, slotsOf } from './named-manifests.js'
import { erasingSteps, type ErasureProgressDocument } from './progress.js'
import { removeReleasedRows } from './released-removal.js'
import { erasureKey, type ErasureRequestDocument } from './store.js'
import { hotEvents, restoredEvents } from './targets/events.js'

export interface ReapplyingDependencies extends KeepingAgainDependencies {
  readonly journal: Pick<ErasureJournal, 'ahead' | 'moveTo'>
  readonly ledger: Pick<ErasureLedger, 'manifest'>
  readonly sealer: Sealer
  readonly removal: Pick<FieldRemoval, 'fromHot' | 'fromRestored'>
  /** Points archived segments to the content that an erasure has left (archive/newest-content.ts). */
  readonly pointToNewest: (organizationId: string, beat: () => void) => Promise<number>
  readonly systemEvents: Pick<SystemEventWriter, 'write'>
  /** A process that has served from this database may hold a key for so long (subjects/fence.ts). */
  readonly waitOutLeases: (beat: () => void) => Promise<void>
  readonly keysetOf: (organizationId: string) => Promise<OrganizationKeyset>
  /** Is the organization in this database at all? */
  readonly isThere: (organizationId: string) => Promise<boolean>
  /** Takes an organization out again (offboarding/reapplying.ts). */
  readonly offboardAgain: (entry: JournalEntry, beat: () => void) => Promise<void>
}

export interface Reapplied {
  readonly entries: number
  readonly subjects: number
  readonly fields: number
  /** Segments that pointed to content that is no more. */
  readonly segments: number
}

/** A transaction of some hundred updates is still a short one. */
const fieldsAtOnce = 100

/**
 * Applies everything that the database has not come to, in order.
 * @throws LedgerError where a manifest is missing or another; RolledBackError where a log must be restarted first; KeyError
 */
export async function reapplyErasures(deps: ReapplyingDependencies, beat: () => void): Promise<Reapplied> {
  const { journal, pointToNewest, isThere } = deps
  const done = { entries: 0, subjects: 0, fields: 0, segments: 0 }
  const organizations = new Set<string>()
  const offboarded = new Set<string>()
  for await (const { kind, organizationId } of journal.ahead())
    if (kind === 'offboarded') offboarded.add(organizationId)
  const goes = async ({ organizationId }: JournalEntry) =>
    // An organization that came after the backup has nothing here.
    !offboarded.has(organizationId) && (await isThere(organizationId))
  if ((await fenceAll(deps, goes, beat)) > 0) await deps.waitOutLeases(beat)
  for await (const entry of journal.ahead()) {
    beat()
    const { organizationId } = entry
    if (entry.kind === 'offboarded') await deps.offboardAgain(entry, beat)
    else if (await goes(entry)) {
      if (!organizations.has(organizationId)) done.segments += await pointToNewest(organizationId, beat)
      organizations.add(organizationId)
      const { subjects, fields } = await apply(deps, entry, beat)
      done.subjects += subjects
      done.fields += fields
    }
    await journal.moveTo(entry)
    done.entries += 1
  }
  return done
}

/** @returns how many subjects were fenced by this */
async function fenceAll(
  deps: ReapplyingDependencies,
  goes: (entry: JournalEntry) => Promise<boolean>,
  beat: () => void,
): Promise<number> {
  let fenced = 0
  for await (const entry of deps.journal.ahead()) {
    beat()
    if ((entry.kind !== 'begun' && entry.kind !== 'erased') || !(await goes(entry))) continue
    const { subjects } = await readSubjects(deps.ledger, entry, entry.manifests.subjects)
    fenced += await fenceSubjects(deps, entry, subjects)
  }
  return fenced
}

async function fenceSubjects(
  { client, db }: ReapplyingDependencies,
  { organizationId, requestId }: ErasureReference,
  subjects: readonly string[],
): Promise<number> {
  const store = subjectStore(db)
  const _id = { $in: subjects.map((subject) => subjectDocumentId(organizationId, subject)) }
  return inTransaction(client, async (session) => {
    const fenced = { state: 'fenced' as const, erasure: requestId }
    const { modifiedCount } = await store.subjects.updateMany(
      { _id, state: { $ne: 'erased' } },
      { $set: fenced },
      { session },
    )
    await store.directory.deleteMany({ organizationId, subject: { $in: [...subjects] } }, { session })
    return modifiedCount
  })
}

async function apply(
  deps: ReapplyingDependencies,
  entry: JournalEntry,
  beat: () => void,
): Promise<{ readonly subjects: number; readonly fields: number }> {
  const { kind, organizationId, manifests } = entry
  if (kind === 'redacted') {
    const removed = await readRedacted(deps.ledger, entry, manifests.fields)
    const fields = await removeFields(deps, organizationId, removed, beat)
    await log(deps, entry, 'annals.field.redacted', manifests.fields)
    return { subjects: 0, fields }
  }
  if (kind === 'released') return { subjects: 0, fields: await releaseAgain(deps, entry, beat) }
  const subjects = await eraseSubjects(deps, entry, beat)
  if (kind === 'begun') {
    await log(deps, entry, 'annals.subject.erasure_started', manifests.subjects)
    return { subjects, fields: 0 }
  }
  const text = await readTexts(deps.ledger, entry, manifests.text)
  const fields = await removeFields(deps, organizationId, rowsOf(text), beat)
  const erasedEventId = await log(deps, entry, 'annals.subject.erased', manifests.text)
  await settle(deps, entry, { erasedEventId, exemptTexts: text.exempt.length })
  return { subjects: 0, fields }
}

async function removeFields(
  { removal }: ReapplyingDependencies,
  organizationId: string,
  removed: readonly RemovedField[],
  beat: () => void,
): Promise<number> {
  for (let at = 0; at < removed.length; at += fieldsAtOnce) {
    beat()
    const some = removed.slice(at, at + fieldsAtOnce)
    await removal.fromHot(organizationId, some)
    await removal.fromRestored(organizationId, some)
  }
  return removed.length
}

/** What a hold had kept, and was gone: archived content has nothing of it, and `pointToNewest` leads there. */
async function releaseAgain(
  deps: ReapplyingDependencies,
  entry: JournalEntry,
  beat: () => void,
): Promise<number> {
  const { db, ledger, progress } = deps
  const { organizationId, manifests, at } = entry
  const { released = '' } = manifests
  const rows = await readReleased(ledger, entry, released)
  await removeReleasedRows(db, organizationId, rows, beat)
  const eventId = await log(deps, entry, 'annals.subject.erased', released)
  const { releases = [] } = await progress.read(entry)
  if (releases.some(({ manifest }) => manifest === released)) return rows.length
  const moment = new Date(at)
  const events = new Set(rows.map((row) => row.eventId)).size
  const release = {
    intendedAt: moment,
    doneAt: moment,
    manifest: released,
    events,
    fields: rows.length,
    eventId,
  }
  await inTransaction(deps.client, async (session) => {
    await progress.beginRelease(entry, releases.length + 1, release, session)
  })
  return rows.length
}

async function eraseSubjects(
  deps: ReapplyingDependencies,
  entry: JournalEntry,
  beat: () => void,
): Promise<number> {
  const { db, events, ledger, progress, sealer, keysetOf } = deps
  const { organizationId, requestId } = entry
  const { subjects, restricted } = await readSubjects(ledger, entry, entry.manifests.subjects)
  const store = subjectStore(db)
  const _id = { $in: subjects.map((subject) => subjectDocumentId(organizationId, subject)) }
  await drainSubjects(sealer, events, { organizationId, subjects }, beat)
  const keyset = await keysetOf(organizationId)
  if (restricted.length > 0) {
    await noteBegun(deps, entry, keyset, subjects)
    // Said before it is: what keeps something keeps its key.
    await progress.set(entry, { keeps: true, exempt: slotsOf(restricted).size })
    await keepRestricted(deps, await progress.read(entry), keyset, restricted, beat)
  }
  await store.subjects.updateMany(
    { _id, erasure: requestId },
    { $set: { state: 'erased' }, $unset: { key: '' } },
    { writeConcern: { w: 'majority', journal: true } },
  )
  const work = {
    organizationId,
    requestId,
    keyset,
    subjects,
    matcher: createTextMatcher([]),
    until: undefined,
    beat,
  }
  await hotEvents(events).erase(work)
  await restoredEvents(db).erase(work)
  return store.subjects.countDocuments({ _id, state: 'erased' })
}

/** @returns the event's id */
async function log(
  { systemEvents }: ReapplyingDependencies,
  { sequence, organizationId, requestId, submitter, approver, kind }: JournalEntry,
  action: 'annals.subject.erasure_started' | 'annals.subject.erased' | 'annals.field.redacted',
  manifest: string | undefined,
): Promise<string> {
  if (manifest === undefined) throw new LedgerError('the journal names no manifest')
  const { id } = await systemEvents.write({
    organizationId,
    action,
    occurredAt: new Date(),
    actor: { type: 'system', id: 'annals' },
    targets: [{ type: kind === 'redacted' ? 'redaction' : 'erasure', id: requestId }],
    metadata: { manifest, submitter, approver, reapplied: true },
    onceKey: `reapplied/${String(sequence)}/${requestId}`,
  })
  return id
}

/** What only the erasing needed is forgotten; the request waits until nothing is left that a backup could open. */
async function settle(
  deps: ReapplyingDependencies,
  entry: JournalEntry,
  erased: Required<Pick<ErasureProgressDocument, 'erasedEventId' | 'exemptTexts'>>,
): Promise<void> {
  const { db, ledger, progress } = deps
  const { organizationId, requestId, manifests, at } = entry
  const request = { organizationId, requestId }
  const doneAt = new Date(at)
  const { subjects, restricted } = await readSubjects(ledger, entry, manifests.subjects)
  await noteBegun(deps, request, await deps.keysetOf(organizationId), subjects)
  const begun = await progress.read(request)
  const missing = erasingSteps.filter((step) => begun.steps[step]?.doneAt === undefined)
  const steps = Object.fromEntries(missing.map((step) => [`steps.${step}`, { intendedAt: doneAt, doneAt }]))
  await progress.set(request, { manifests, ...erased, exempt: slotsOf(restricted).size, ...steps })
  await progress.forget(request)
  const requests: Collection<ErasureRequestDocument> = db.collection(collectionNames.erasureRequests)
  const _id = erasureKey(organizationId, requestId)
  const stored = await requests.findOne({ _id })
  if (stored === null || isFinal(stored.state)) return
  await requests.updateOne(
    { _id, version: stored.version },
    {
      $set: {
        state: 'awaiting_expiry',
        resumeAt: null,
        expiryAt: new Date(),
        key: null,
        sealed: null,
        words: [],
        bodyFingerprint: null,
      },
      $unset: { identifiersKey: '', subjectsKey: '' },
      $inc: { version: 1 },
      $push: { evidence: { event: 'erased', at: new Date(), by: null, state: 'awaiting_expiry' } },
    },
  )
  await db
    .collection(collectionNames.erasureActions)
    .updateMany({ organizationId, requestId }, { $set: { sealedWords: null } })
}
