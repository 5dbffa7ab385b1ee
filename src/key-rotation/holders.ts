/**
 * What is wrapped under period keys: subjects' keys, those of erasure requests, and those of their erasing. Each is
 * wrapped anew in place, by an update that matches only what was read: a key that was destroyed meanwhile stays so.
 */
import type { AnyBulkWriteOperation, Collection, Db, Filter } from 'mongodb'
import type { ErasureProgressDocument } from '../erasure/progress.js'
import type { ErasureReference } from '../erasure/contract.js'
import {
  openRequestKey,
  restrictedName,
  workName,
  wrapRequestKey,
  type WrappedRequestKey,
} from '../erasure/sealed.js'
import type { ErasureRequestDocument } from '../erasure/store.js'
import type { OrganizationKeyset } from '../keys/organization-keys.js'
import type { PeriodKey, PeriodKeys } from '../keys/period-keys.js'
import { collectionNames } from '../mongo/collections.js'
import { subjectStore, type SubjectDocument } from '../subjects/store.js'
import { openSubjectKey, wrapSubjectKey } from '../subjects/subject-keys.js'
import type { KeyHolder, KeysLeft } from './contract.js'

export interface Rewrapping {
  /** What everything is to be wrapped under. */
  readonly under: PeriodKey
  /** `_id` of the last document that was done. */
  readonly after: string | undefined
  /** Called after each batch is on the disks of a majority. */
  readonly onBatch: (batch: { readonly after: string; readonly rewrapped: number }) => void
}

export interface KeyHolders {
  /** Wraps anew what lies under earlier periods, in the order of ids. @throws KeyError, and nothing more is changed */
  rewrap(holder: KeyHolder, rewrapping: Rewrapping): Promise<void>
  /** How many keys lie under periods before `current`. */
  left(current: number): Promise<KeysLeft>
}

export interface KeyHolderDependencies {
  readonly db: Db
  readonly periods: PeriodKeys
  readonly keysetOf: (organizationId: string) => Promise<OrganizationKeyset>
}

const batchSize = 1_000

export function createKeyHolders({ db, periods, keysetOf }: KeyHolderDependencies): KeyHolders {
  const { subjects, directory } = subjectStore(db)
  const requests: Collection<ErasureRequestDocument> = db.collection(collectionNames.erasureRequests)
  const progress: Collection<ErasureProgressDocument> = db.collection(collectionNames.erasureProgress)

  const before = (path: string, period: number) => ({ [`${path}.period`]: { $lt: period } })
  const subjectsLeft = (period: number) => before('key', period) as Filter<SubjectDocument>
  const requestsLeft = (period: number) => before('key', period) as Filter<ErasureRequestDocument>
  const progressLeft = (period: number) =>
    ({
      $or: [before('workKey', period), before('restrictedKey', period)],
    }) as Filter<ErasureProgressDocument>

  /**
   * A copy of what is wrapped now will lie in oplogs and backups under `under` too: an erasure under way, or that waits
   * for its residue to expire, has to wait for that period as well.
   */
  async function noteCopies(erasures: readonly ErasureReference[], { period }: PeriodKey): Promise<void> {
    const ids = [...new Set(erasures.map((one) => `${one.organizationId}/${one.requestId}`))]
    if (ids.length > 0)
      await progress.updateMany({ _id: { $in: ids } }, { $addToSet: { keyPeriods: period } })
  }

  /**
   * Made by a process that died before anything referred to it, under a key that was gone by then (directory.ts): nothing
   * can have been encrypted under it that was ever answered.
   */
  async function isOrphan({ _id, organizationId, state, key }: SubjectDocument): Promise<boolean> {
    if (state !== 'active' || key === undefined || !(await periods.isDeleted(key.period))) return false
    const subject = _id.slice(organizationId.length + 1)
    return (await directory.findOne({ organizationId, subject }, { projection: { _id: 1 } })) === null
  }

  async function rewrapSubjects(page: readonly SubjectDocument[], under: PeriodKey): Promise<number> {
    const fenced = page.flatMap(({ organizationId, erasure }) =>
      erasure === undefined ? [] : [{ organizationId, requestId: erasure }],
    )
    await noteCopies(fenced, under)
    const writes: AnyBulkWriteOperation<SubjectDocument>[] = []
    let opened: { readonly period: number; readonly keyset: OrganizationKeyset } | undefined
    for (const document of page) {
      const { _id, organizationId, key } = document
      if (key === undefined) continue
      // Ids go by organization: what the one before needed is mostly what this one needs.
      if (opened?.period !== key.period || opened.keyset.organizationId !== organizationId) {
        if (await isUnopenable(key.period, () => isOrphan(document))) {
          writes.push({ deleteOne: { filter: { _id, 'key.period': key.period } } })
          continue
        }
        opened = { period: key.period, keyset: await keysetOf(organizationId) }
      }
      const { keyset } = opened
      const reference = _id.slice(organizationId.length + 1)
      const subjectKey = openSubjectKey(keyset, periods, reference, document)
      writes.push({
        updateOne: {
          filter: { _id, 'key.period': key.period },
          update: { $set: { key: wrapSubjectKey(keyset, under, reference, subjectKey) } },
        },
      })
    }
    const { modifiedCount } = await subjects.bulkWrite(writes, { ordered: false })
    return modifiedCount
  }

  /** @throws KeyError `period_key_missing` for a key that cannot be opened and is no orphan */
  async function isUnopenable(period: number, orphan: () => Promise<boolean>): Promise<boolean> {
    try {
      await periods.ensure([period])
      return false
    } catch (error) {
      if (await orphan()) return true
      throw error
    }
  }

  async function rewrapped(
    name: ErasureReference,
    wrapped: WrappedRequestKey,
    under: PeriodKey,
  ): Promise<WrappedRequestKey> {
    const keyset = await keysetOf(name.organizationId)
    await periods.ensure([wrapped.period])
    return wrapRequestKey(keyset, under, name, openRequestKey(keyset, periods, name, wrapped))
  }

  async function rewrapRequests(page: readonly ErasureRequestDocument[], under: PeriodKey): Promise<number> {
    await noteCopies(page, under)
    let done = 0
    for (const document of page) {
      const { _id, key } = document
      if (key === null) continue
      const update = { $set: { key: await rewrapped(document, key, under) } }
      const { modifiedCount } = await requests.updateOne({ _id, 'key.period': key.period }, update)
      done += modifiedCount
    }
    return done
  }

  async function rewrapProgress(page: readonly ErasureProgressDocument[], under: PeriodKey): Promise<number> {
    await noteCopies(
      page.filter(({ workKey }) => workKey !== undefined),
      under,
    )
    // The key of what is kept is no residue: its copies matter once what it keeps is to go, and nothing waits for that.
    const keeping = page.filter(({ restrictedKey }) => restrictedKey !== undefined).map(({ _id }) => _id)
    const kept = { $addToSet: { restrictedPeriods: under.period } }
    if (keeping.length > 0) await progress.updateMany({ _id: { $in: keeping } }, kept)
    let done = 0
    for (const document of page) {
      for (const [member, name] of [
        ['workKey', workName(document)],
        ['restrictedKey', restrictedName(document)],
      ] as const) {
        const key = document[member]
        if (key === undefined || key.period >= under.period) continue
        const filter = { _id: document._id, [`${member}.period`]: key.period }
        const { modifiedCount } = await progress.updateOne(filter, {
          $set: { [member]: await rewrapped(name, key, under) },
        })
        done += modifiedCount
      }
    }
    return done
  }

  async function pages<Document extends { readonly _id: string }>(
    collection: Collection<Document>,
    left: Filter<Document>,
    { after, under, onBatch }: Rewrapping,
    rewrapPage: (page: Document[], under: PeriodKey) => Promise<number>,
  ): Promise<void> {
    const rest = after === undefined ? left : { $and: [{ _id: { $gt: after } }, left] }
    const found = collection.find(rest as Filter<Document>, { sort: { _id: 1 }, hint: { _id: 1 }, batchSize })
    let page: Document[] = []
    // One page is written while the next is read: never more, and reported in their order.
    let writing = Promise.resolve()
    const flush = async () => {
      const full = page
      const last = full.at(-1)
      page = []
      await writing
      if (last === undefined) return
      writing = rewrapPage(full, under).then((rewrapped) => onBatch({ after: last._id, rewrapped }))
      // Its failure is met by the next flush, which may be a while.
      writing.catch(() => undefined)
    }
    for await (const document of found) {
      page.push(document as Document)
      if (page.length === batchSize) await flush()
    }
    await flush()
    await writing
  }

  return {
    async rewrap(holder, rewrapping) {
      const { period } = rewrapping.under
      switch (holder) {
        case 'subjects':
          return pages(subjects, subjectsLeft(period), rewrapping, rewrapSubjects)
        case 'erasure_requests':
          return pages(requests, requestsLeft(period), rewrapping, rewrapRequests)
        case 'erasure_progress':
          return pages(progress, progressLeft(period), rewrapping, rewrapProgress)
      }
    },
    async left(current) {
      return {
        subjects: await subjects.countDocuments(subjectsLeft(current)),
        erasure_requests: await requests.countDocuments(requestsLeft(current)),
        erasure_progress: await progress.countDocuments(progressLeft(current)),
      }
    },
  }
}
