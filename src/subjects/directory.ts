/**
 * The directory: from the person an event names to the subject reference and key it is stored under.
 *
 * The first event about a person makes the subject. Two processes that meet the same new person at once both
 * make one; the unique directory id decides, and the loser's subject, which nothing refers to, is removed.
 */
import { setTimeout } from 'node:timers/promises'
import { LRUCache } from 'lru-cache'
import { AnnalsError } from '../errors.js'
import type { Party } from '../events/contract.js'
import { newReference } from '../ids.js'
import type { OrganizationKeyset } from '../keys/organization-keys.js'
import type { PeriodKey, PeriodKeys } from '../keys/period-keys.js'
import { seal } from '../keys/wrapping.js'
import { duplicateKeyCode, insertUnordered } from '../mongo/insert.js'
import { tickBatch } from '../tick-batch.js'
import { Lease, leaseMs, type Clock } from './leases.js'
import { normaliseEmail, resolvingIdentifier, searchableEmails, type Identifier } from './policy.js'
import {
  subjectDocumentId,
  type DirectoryDocument,
  type SubjectDocument,
  type SubjectStore,
} from './store.js'
import { createSubjectKey, openSubjectKey, wrapSubjectKey, type WrappedSubjectKey } from './subject-keys.js'

/** A person as an event is stored under: who, with which key, and until when the key may be used. */
export interface SubjectHandle {
  /** `sub_…` */
  readonly reference: string
  /** 32 bytes. */
  readonly key: Buffer
  readonly lease: Lease
}

export interface SubjectDirectory {
  /** The handle of a person met within the lease, without asking the database; undefined = ask `resolve`. */
  known(keyset: OrganizationKeyset, party: Party): SubjectHandle | undefined
  /**
   * The handle of a person, made where it is new. Calls of one moment share one look-up.
   * @throws AnnalsError `unavailable`; KeyError where a key is missing or wrong
   */
  resolve(keyset: OrganizationKeyset, party: Party): Promise<SubjectHandle>
  /** Takes a new lease on a subject; undefined where it is no longer active. */
  renew(keyset: OrganizationKeyset, reference: string): Promise<Lease | undefined>
  /** Every reference that goes by an id (of one type, or of any) or an e-mail. */
  find(
    keyset: OrganizationKeyset,
    query: { id: string; type?: string } | { email: string },
  ): Promise<string[]>
}

interface Known {
  readonly handle: SubjectHandle
  /** E-mails under which the subject is listed already. */
  readonly listed: ReadonlySet<string>
}

interface Request {
  readonly cacheKey: string
  readonly keyset: OrganizationKeyset
  readonly identifier: Identifier
  readonly emails: Set<string>
  /** Its look-up is under way: further e-mails come too late for it. */
  sent: boolean
  readonly promise: Promise<SubjectHandle>
  readonly settle: { resolve(handle: SubjectHandle): void; reject(error: unknown): void }
}

/** A subject that is being made. */
interface Made {
  readonly request: Request
  readonly handle: SubjectHandle
  readonly wrapped: WrappedSubjectKey
}

const maxKnown = 100_000
const maxAtOnce = 1_000
const maxAttempts = 5
/** Another process's entry is seen once a majority has it. */
const retryAfterMs = 20

export function createSubjectDirectory(
  store: SubjectStore,
  periods: PeriodKeys,
  clock: Clock,
): SubjectDirectory {
  // The cache holds identifiers in clear, in memory, for as long as a lease lasts and no longer.
  const known = new LRUCache<string, Known>({ max: maxKnown, ttl: leaseMs })
  const requests = new Map<string, Request>()
  let waiting: Request[] = []

  function knownHandle(cacheKey: string, party: Party): SubjectHandle | undefined {
    const found = known.get(cacheKey)
    if (!found?.handle.lease.fresh) return undefined
    return searchableEmails(party).every((email) => found.listed.has(email)) ? found.handle : undefined
  }

  function resolve(keyset: OrganizationKeyset, party: Party): Promise<SubjectHandle> {
    const identifier = identifierOf(party)
    const cacheKey = cacheKeyOf(keyset, identifier)
    const pending = requests.get(cacheKey)
    const emails = searchableEmails(party)
    if (pending?.sent === false) {
      for (const email of emails) pending.emails.add(email)
      return pending.promise
    }
    // A look-up that is under way does not know this party's e-mails: wait for it, then ask again.
    if (pending !== undefined)
      return pending.promise.then(() => knownHandle(cacheKey, party) ?? resolve(keyset, party))
    const { promise, ...settle } = withResolvers<SubjectHandle>()
    const request: Request = {
      cacheKey,
      keyset,
      identifier,
      emails: new Set(emails),
      sent: false,
      promise,
      settle,
    }
    requests.set(cacheKey, request)
    waiting.push(request)
    if (waiting.length === 1) setImmediate(flush)
    return promise
  }

  function flush(): void {
    const batch = waiting.slice(0, maxAtOnce)
    waiting = waiting.slice(maxAtOnce)
    for (const request of batch) request.sent = true
    if (waiting.length > 0) setImmediate(flush)
    resolveBatch(batch).then(
      (handles) => {
        for (const request of batch) requests.delete(request.cacheKey)
        for (const request of batch) {
          const handle = handles.get(request.cacheKey)
          if (handle === undefined) request.settle.reject(busyPerson())
          else request.settle.resolve(handle)
        }
      },
      (error: unknown) => {
        for (const request of batch) requests.delete(request.cacheKey)
        for (const request of batch) request.settle.reject(error)
      },
    )
  }

  async function resolveBatch(batch: readonly Request[]): Promise<Map<string, SubjectHandle>> {
    const handles = new Map<string, SubjectHandle>()
    let open = [...batch]
    for (let attempt = 0; attempt < maxAttempts && open.length > 0; attempt += 1) {
      if (attempt > 0) await setTimeout(retryAfterMs * attempt)
      for (const [request, handle] of await readExisting(open)) handles.set(request.cacheKey, handle)
      open = open.filter((request) => !handles.has(request.cacheKey))
      for (const [request, handle] of await createMissing(open)) handles.set(request.cacheKey, handle)
      open = open.filter((request) => !handles.has(request.cacheKey))
    }
    await listEmails(batch, handles)
    for (const request of batch) {
      const handle = handles.get(request.cacheKey)
      if (handle === undefined) continue
      const before = known.get(request.cacheKey)
      const listed = before?.handle.reference === handle.reference ? before.listed : []
      known.set(request.cacheKey, { handle, listed: new Set([...listed, ...request.emails]) })
    }
    return handles
  }

  /** The requests whose directory entry leads to an active subject. */
  async function readExisting(open: readonly Request[]): Promise<Map<Request, SubjectHandle>> {
    const lease = new Lease(clock)
    const entries = await store.directory
      .find({ _id: { $in: open.map(entryId) } }, { projection: { subject: 1, organizationId: 1 } })
      .toArray()
    const references = new Map(entries.map((entry) => [entry._id, entry.subject]))
    const subjectIds = entries.map((entry) => subjectDocumentId(entry.organizationId, entry.subject))
    const documents = new Map<string, SubjectDocument>()
    if (subjectIds.length > 0) {
      for await (const document of store.subjects.find({ _id: { $in: subjectIds } }))
        documents.set(document._id, document)
    }
    await periods.ensure([...documents.values()].flatMap(({ key }) => key?.period ?? []))
    const found = new Map<Request, SubjectHandle>()
    for (const request of open) {
      const reference = references.get(entryId(request))
      if (reference === undefined) continue
      const document = documents.get(subjectDocumentId(request.keyset.organizationId, reference))
      // A fence detaches the entry and ends the subject in one transaction: between our two reads. Look again.
      if (document?.state !== 'active') continue
      found.set(request, {
        reference,
        key: openSubjectKey(request.keyset, periods, reference, document),
        lease,
      })
    }
    return found
  }

  /** Makes subjects for the requests that have no entry; those that another process was quicker with stay open. */
  async function createMissing(open: readonly Request[]): Promise<Map<Request, SubjectHandle>> {
    if (open.length === 0) return new Map()
    const { key: under, lease: until } = await periods.use()
    const lease = new Lease(clock)
    const made = open.map((request): Made => {
      const reference = newReference('sub')
      const { key, wrapped } = createSubjectKey(request.keyset, under, reference)
      return { request, handle: { reference, key, lease }, wrapped }
    })
    await store.subjects.insertMany(
      made.map(({ request: { keyset }, handle, wrapped }) => ({
        _id: subjectDocumentId(keyset.organizationId, handle.reference),
        organizationId: keyset.organizationId,
        state: 'active' as const,
        key: wrapped,
      })),
    )
    // Nothing refers to them yet: what is under a period that was left meanwhile can still be wrapped anew.
    if (!until.valid && !(await wrapAnew(made, under))) return new Map()
    const lost = await insertIgnoringDuplicates(
      store,
      made.map(({ request, handle }) =>
        entryOf(request.keyset, request.identifier, handle, entryId(request)),
      ),
    )
    const orphans = made.filter(({ request }) => lost.has(entryId(request)))
    if (orphans.length > 0) {
      const ids = orphans.map(({ request, handle }) =>
        subjectDocumentId(request.keyset.organizationId, handle.reference),
      )
      await store.subjects.deleteMany({ _id: { $in: ids } })
    }
    return new Map(
      made.filter((one) => !orphans.includes(one)).map(({ request, handle }) => [request, handle]),
    )
  }

  /**
   * For whoever slept past the lease on its period: a rotation may have counted what is under it, and deleted its key.
   * @returns false where the subjects are to be made again
   */
  async function wrapAnew(made: readonly Made[], under: PeriodKey): Promise<boolean> {
    await periods.refresh()
    const { current } = periods
    if (current.period === under.period) return true
    const { matchedCount } = await store.subjects.bulkWrite(
      made.map(({ request: { keyset }, handle: { reference, key } }) => ({
        updateOne: {
          filter: {
            _id: subjectDocumentId(keyset.organizationId, reference),
            'key.period': { $lte: current.period },
          },
          update: { $set: { key: wrapSubjectKey(keyset, current, reference, key) } },
        },
      })),
      { ordered: false },
    )
    return matchedCount === made.length
  }

  /** Lists each subject under the e-mails it was seen with, so that a request by e-mail finds it. */
  async function listEmails(
    batch: readonly Request[],
    handles: ReadonlyMap<string, SubjectHandle>,
  ): Promise<void> {
    const entries: DirectoryDocument[] = []
    for (const { cacheKey, keyset, emails } of batch) {
      const handle = handles.get(cacheKey)
      const listed = known.get(cacheKey)
      for (const email of emails) {
        if (handle === undefined) continue
        if (listed?.handle.reference === handle.reference && listed.listed.has(email)) continue
        const id = `${keyset.organizationId}/seen/${emailMac(keyset, email)}/${handle.reference}`
        entries.push(entryOf(keyset, { kind: 'email', value: email }, handle, id))
      }
    }
    if (entries.length === 0) return
    await insertIgnoringDuplicates(store, entries)
    await unlistFenced(entries, handles)
  }

  /** Whoever slept through a fence has listed a person who is gone: their entries go again. */
  async function unlistFenced(
    entries: readonly DirectoryDocument[],
    handles: ReadonlyMap<string, SubjectHandle>,
  ): Promise<void> {
    const lapsed = new Set<string>()
    for (const { reference, lease } of handles.values()) if (!lease.valid) lapsed.add(reference)
    const late = entries.filter(({ subject }) => lapsed.has(subject))
    if (late.length === 0) return
    const ids = late.map(({ organizationId, subject }) => subjectDocumentId(organizationId, subject))
    const inactive = await store.subjects
      .find({ _id: { $in: ids }, state: { $ne: 'active' } }, { projection: { _id: 1 } })
      .toArray()
    const gone = new Set(inactive.map(({ _id }) => _id))
    const removed = late.filter(({ organizationId, subject }) =>
      gone.has(subjectDocumentId(organizationId, subject)),
    )
    if (removed.length > 0) await store.directory.deleteMany({ _id: { $in: removed.map(({ _id }) => _id) } })
  }

  const renew = tickBatch<string, Lease | undefined>(async (ids) => {
    const lease = new Lease(clock)
    const active = await store.subjects
      .find({ _id: { $in: [...ids] }, state: 'active' }, { projection: { _id: 1 } })
      .toArray()
    const found = new Set(active.map(({ _id }) => _id))
    return ids.map((id) => (found.has(id) ? lease : undefined))
  }, maxAtOnce)

  return {
    known: (keyset, party) => knownHandle(cacheKeyOf(keyset, identifierOf(party)), party),
    resolve,
    renew: (keyset, reference) => renew(subjectDocumentId(keyset.organizationId, reference)),
    async find(keyset, query) {
      const { organizationId } = keyset
      if ('id' in query && query.type !== undefined) {
        const identifier: Identifier = { kind: 'id', type: query.type.toLowerCase(), value: query.id }
        const entry = await store.directory.findOne({ _id: identifierEntryId(keyset, identifier) })
        return entry === null ? [] : [entry.subject]
      }
      const lookup =
        'id' in query ? anyTypeMac(keyset, query.id) : emailLookup(keyset, normaliseEmail(query.email))
      return store.directory.distinct('subject', { organizationId, lookup })
    },
  }
}

function identifierOf(party: Party): Identifier {
  const identifier = resolvingIdentifier(party)
  if (identifier === undefined) throw new Error('a person without id and e-mail has passed the schema')
  return identifier
}

const cacheKeyOf = ({ organizationId }: OrganizationKeyset, identifier: Identifier) =>
  identifier.kind === 'id'
    ? `${organizationId}\0id\0${identifier.type}\0${identifier.value}`
    : `${organizationId}\0email\0${identifier.value}`

const entryId = (request: Request) => identifierEntryId(request.keyset, request.identifier)

function identifierEntryId(keyset: OrganizationKeyset, identifier: Identifier): string {
  return identifier.kind === 'id'
    ? `${keyset.organizationId}/id/${keyset.index(`id\0${identifier.type}\0${identifier.value}`).toString('base64url')}`
    : `${keyset.organizationId}/mail/${emailMac(keyset, identifier.value)}`
}

const emailLookup = (keyset: OrganizationKeyset, email: string) => keyset.index(`email\0${email}`)
const emailMac = (keyset: OrganizationKeyset, email: string) =>
  emailLookup(keyset, email).toString('base64url')
const anyTypeMac = (keyset: OrganizationKeyset, id: string) => keyset.index(`any-id\0${id}`)

function entryOf(
  keyset: OrganizationKeyset,
  identifier: Identifier,
  { reference, key }: SubjectHandle,
  id: string,
): DirectoryDocument {
  const lookup =
    identifier.kind === 'id' ? anyTypeMac(keyset, identifier.value) : emailLookup(keyset, identifier.value)
  return {
    _id: id,
    organizationId: keyset.organizationId,
    subject: reference,
    lookup,
    sealed: seal(key, Buffer.from(JSON.stringify(identifier)), `annals/directory/v1/${id}`),
  }
}

/** Inserts entries and returns the ids that were taken already. Every other failure is thrown. */
async function insertIgnoringDuplicates(
  store: SubjectStore,
  entries: readonly DirectoryDocument[],
): Promise<Set<string>> {
  const refused = await insertUnordered(store.directory, entries)
  if ([...refused.values()].some((code) => code !== duplicateKeyCode)) {
    throw new Error('the database refused an entry of the directory')
  }
  return new Set(entries.filter((_, index) => refused.has(index)).map((entry) => entry._id))
}

const busyPerson = () =>
  new AnnalsError('unavailable', 'A person of this event is being changed right now; try again.', {
    retryAfterSeconds: 1,
  })

function withResolvers<T>(): { promise: Promise<T>; resolve(value: T): void; reject(error: unknown): void } {
  let resolve: (value: T) => void = () => undefined
  let reject: (error: unknown) => void = () => undefined
  const promise = new Promise<T>((onResolve, onReject) => {
    resolve = onResolve
    reject = onReject
  })
  return { promise, resolve, reject }
}
