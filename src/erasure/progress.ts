/**
 * How far the erasing of a request has come: `erasureProgress`, a document each, and `erasureTexts`, a row for each clear
 * field that names the person, written before anything of it is removed.
 *
 * A step's intent is on the disks of a majority before it begins, and its outcome after; so that no key is ever gone
 * without a record that it was to go, and a step that is run again knows what it did. Neither holds an identifier in
 * clear: those that the directory knew are under the request's working key, which goes when the request ends.
 */
import type { ClientSession, Collection, Db, Filter } from 'mongodb'
import { collectionNames } from '../mongo/collections.js'
import type { ErasureReference } from './contract.js'
import type { ManifestKind } from './manifests.js'
import type { WrappedRequestKey } from './sealed.js'
import type { ReadPlace } from './second-reader.js'
import { TargetError } from './targets/contract.js'

export const erasingSteps = [
  'fence',
  'leases',
  'drain',
  'restrict',
  'subject_manifest',
  'erasure_started',
  'search',
  'destroy',
  'remove',
  'text_manifest',
  'subject_erased',
  'verify',
  'ledger',
] as const
export type ErasingStep = (typeof erasingSteps)[number]

export interface StepTimes {
  readonly intendedAt: Date
  readonly doneAt?: Date
}

export interface CutOff {
  readonly generation: number
  readonly index: number
}

/**
 * What a target removed, over all its runs. Where `ended` is less than `begun` a run was cut off before it could say how
 * much it removed: `items` is then the least that it can be.
 */
export interface RemovedCount {
  readonly begun: number
  readonly ended?: number
  readonly items?: number
}

/** What an exception had kept, gone with its end. */
export interface KeptRelease {
  readonly intendedAt: Date
  /** SHA-256 of the manifest of the fields. */
  readonly manifest: string
  readonly events: number
  readonly fields: number
  /** The sealed event that names it. */
  readonly eventId?: string
  readonly doneAt?: Date
}

export interface ErasureProgressDocument {
  /** `<organizationId>/<requestId>` */
  readonly _id: string
  readonly organizationId: string
  readonly requestId: string
  /** `sub_…`, as the fence took them. */
  readonly subjects: readonly string[]
  readonly steps: Readonly<Partial<Record<ErasingStep, StepTimes>>>
  /** The key that keeps what may not go yet, wrapped. */
  readonly restrictedKey?: WrappedRequestKey
  /** The identifiers that the directory knew the subjects by, and their key. */
  readonly workKey?: WrappedRequestKey
  readonly sealedIdentifiers?: Buffer
  /** Periods whose keys wrapped the keys that were destroyed: until they are gone, backups may still open them. */
  readonly keyPeriods: readonly number[]
  /** Periods under which `restrictedKey` was ever wrapped: what a backup needs once what is kept goes, too. */
  readonly restrictedPeriods?: readonly number[]
  readonly detached: number
  /** Events of the hot store that named the subjects after the drain, and those whose blocks are kept. */
  readonly before?: number
  readonly exempt?: number
  /** Fields in clear that are kept because their event is exempt or held. */
  readonly exemptTexts?: number
  /** Fields that nothing but a hold keeps, when it was last looked; absent = nobody has looked. */
  readonly held?: number
  readonly releases?: readonly KeptRelease[]
  /** How many of them the newest certificate knows of. */
  readonly certifiedReleases?: number
  /** What each target removed, by its name. */
  readonly removed?: Readonly<Record<string, RemovedCount>>
  /** Something may be kept under `restrictedKey`: said before it is. */
  readonly keeps?: true
  readonly cutOff?: CutOff
  readonly manifests?: { readonly subjects?: string; readonly text?: string }
  readonly startedEventId?: string
  readonly erasedEventId?: string
  /** What the second reader went through when it found nothing. */
  readonly reading?: {
    readonly at: Date
    /** Identifiers that were looked for; those that no reviewer confirmed, and that stand in too much, are not. */
    readonly searchedFor: number
    readonly places: readonly ReadPlace[]
    /** Targets that were retired and did not answer. */
    readonly retired?: readonly string[]
    /** Its own way into the database, by which nothing can be written, or the one that everything uses. */
    readonly credentials?: 'read_only' | 'shared'
  }
  /** Where the ledger has it. */
  readonly ledgerEntry?: { readonly sequence: number; readonly hash: string; readonly at: string }
  /** Positions of the identifiers (request's, then the directory's) whose hits are removed. */
  readonly chosen?: readonly number[]
}

export interface ErasureTextDocument {
  /** `<organizationId>/<requestId>/<eventId>/<slot>` */
  readonly _id: string
  readonly organizationId: string
  readonly requestId: string
  readonly eventId: string
  readonly slot: string
  readonly commitment: Buffer
  /** Which identifiers stand in it. */
  readonly identifiers: readonly number[]
  /** Another person's block, or text that names another one too. */
  readonly joint: boolean
  /** The event is about the person. */
  readonly own: boolean
  /** The event is exempt or held: its text stays. */
  readonly exempt: boolean
}

export type ErasureProgress = ReturnType<typeof createErasureProgress>

const majority = { writeConcern: { w: 'majority' as const, journal: true } }
const idOf = ({ organizationId, requestId }: ErasureReference) => `${organizationId}/${requestId}`

/** Creates the index of the rows; safe to repeat. */
export async function ensureErasureProgress(db: Db): Promise<void> {
  await db
    .collection<ErasureProgressDocument>(collectionNames.erasureProgress)
    .createIndexes([{ key: { organizationId: 1 }, name: 'organization' }])
  await db
    .collection<ErasureTextDocument>(collectionNames.erasureTexts)
    .createIndexes([{ key: { organizationId: 1, requestId: 1, eventId: 1, slot: 1 }, name: 'request' }])
}

export function createErasureProgress(db: Db, now: () => Date = () => new Date()) {
  const progress: Collection<ErasureProgressDocument> = db.collection(collectionNames.erasureProgress)
  const texts: Collection<ErasureTextDocument> = db.collection(collectionNames.erasureTexts)

  async function read(request: ErasureReference): Promise<ErasureProgressDocument> {
    const found = await progress.findOne({ _id: idOf(request) })
    if (found === null) throw new Error('an erasing step came before the fence')
    return found
  }

  return {
    find: (request: ErasureReference) => progress.findOne({ _id: idOf(request) }),
    read,
    texts,

    /** Which request a manifest is of, and which of its two; by the SHA-256. */
    async manifestNamed(
      organizationId: string,
      sha256: string,
    ): Promise<{ readonly request: ErasureReference; readonly kind: ManifestKind | 'released' } | undefined> {
      const named = [
        { 'manifests.subjects': sha256 },
        { 'manifests.text': sha256 },
        { 'releases.manifest': sha256 },
      ]
      const found = await progress.findOne({ organizationId, $or: named })
      if (found === null) return undefined
      if (found.releases?.some(({ manifest }) => manifest === sha256) === true)
        return { request: found, kind: 'released' }
      return { request: found, kind: found.manifests?.text === sha256 ? 'text' : 'subjects' }
    },

    /** Verified requests of which a hold keeps something, or a release is not certified, by id. */
    async keeping(
      organizationId: string | undefined,
      after: string,
      limit: number,
    ): Promise<readonly ErasureProgressDocument[]> {
      const filter: Filter<ErasureProgressDocument> = {
        _id: { $gt: after },
        ...(organizationId === undefined ? {} : { organizationId }),
        'steps.ledger.doneAt': { $exists: true },
        $and: [
          { $or: [{ exempt: { $gt: 0 } }, { exemptTexts: { $gt: 0 } }] },
          {
            $or: [
              { held: { $ne: 0 } },
              {
                $expr: {
                  $gt: [{ $size: { $ifNull: ['$releases', []] } }, { $ifNull: ['$certifiedReleases', 0] }],
                },
              },
            ],
          },
        ],
      }
      return progress.find(filter, { sort: { _id: 1 }, limit }).toArray()
    },

    /** Begins a release, unless another attempt has. @param session of the transaction that looked at the holds */
    async beginRelease(
      request: ErasureReference,
      number: number,
      release: KeptRelease,
      session: ClientSession,
    ): Promise<boolean> {
      const { modifiedCount } = await progress.updateOne(
        { _id: idOf(request), [`releases.${String(number - 1)}`]: { $exists: false } },
        { $push: { releases: release } },
        { session },
      )
      return modifiedCount === 1
    },

    /** @param number of the release, from 1 */
    async setRelease(
      request: ErasureReference,
      number: number,
      members: Partial<KeptRelease>,
    ): Promise<void> {
      const at = `releases.${String(number - 1)}`
      const set = Object.fromEntries(Object.entries(members).map(([name, value]) => [`${at}.${name}`, value]))
      await progress.updateOne({ _id: idOf(request) }, { $set: set }, majority)
    },

    /** Nothing is kept any more: the key that kept it goes; copies of it are out of reach with these periods. */
    async destroyRestrictedKey(request: ErasureReference): Promise<void> {
      const { restrictedKey, restrictedPeriods = [], keyPeriods } = await read(request)
      if (restrictedKey === undefined) return
      const periods = new Set([...keyPeriods, ...restrictedPeriods, restrictedKey.period])
      await progress.updateOne(
        { _id: idOf(request) },
        {
          $addToSet: { keyPeriods: { $each: [...periods].sort((a, b) => a - b) } },
          $unset: { restrictedKey: '' },
        },
        majority,
      )
    },

    /** Requests whose text is gone: those of these subjects, then the newest of the others; so many at most. */
    async *ofSubjectsFirst(
      organizationId: string,
      subjects: readonly string[],
      limit: number,
    ): AsyncGenerator<ErasureProgressDocument> {
      const gone = { organizationId, erasedEventId: { $exists: true } }
      const options = { sort: { _id: -1 }, limit } as const
      let count = 0
      for (const whose of [{ $in: [...subjects] }, { $nin: [...subjects] }]) {
        for await (const document of progress.find({ ...gone, subjects: whose }, options)) {
          if ((count += 1) > limit) return
          yield document
        }
      }
    },

    /** Requests with a text manifest that were verified since then, or are not verified yet. */
    withTextManifest: (organizationId: string, since: Date) =>
      progress.find({
        organizationId,
        'manifests.text': { $exists: true },
        $or: [{ 'steps.verify.doneAt': { $exists: false } }, { 'steps.verify.doneAt': { $gte: since } }],
      }),

    /**
     * Begins the erasing, unless it has begun: what it was begun with stands.
     * @param session of a transaction that holds the period of the wrapped keys still
     */
    async begin(
      request: ErasureReference,
      started: Pick<
        ErasureProgressDocument,
        'subjects' | 'workKey' | 'sealedIdentifiers' | 'keyPeriods' | 'restrictedKey' | 'restrictedPeriods'
      >,
      session?: ClientSession,
    ): Promise<void> {
      const { organizationId, requestId } = request
      await progress.updateOne(
        { _id: idOf(request) },
        { $setOnInsert: { organizationId, requestId, ...started, steps: {}, detached: 0 } },
        { upsert: true, ...(session === undefined ? majority : { session }) },
      )
    },

    /** Gives up a beginning that changed nothing yet: all of it is held. */
    async giveUp(request: ErasureReference): Promise<void> {
      await progress.deleteOne({ _id: idOf(request), 'steps.fence.doneAt': { $exists: false } })
    },

    async set(
      request: ErasureReference,
      members: Partial<Omit<ErasureProgressDocument, '_id' | 'steps'>>,
    ): Promise<void> {
      await progress.updateOne({ _id: idOf(request) }, { $set: members }, majority)
    },

    /**
     * Runs a step unless its outcome is recorded: intent, work, outcome. Work that is repeated must find what it did.
     */
    async once(request: ErasureReference, step: ErasingStep, work: () => Promise<void>): Promise<void> {
      const { steps } = await read(request)
      if (steps[step]?.doneAt !== undefined) return
      if (steps[step] === undefined) {
        await progress.updateOne(
          { _id: idOf(request), [`steps.${step}`]: { $exists: false } },
          { $set: { [`steps.${step}`]: { intendedAt: now() } } },
          majority,
        )
      }
      await work()
      await progress.updateOne(
        { _id: idOf(request) },
        { $set: { [`steps.${step}.doneAt`]: now() } },
        majority,
      )
    },

    /**
     * Runs a target, and adds what it removed to what its earlier runs did. One that fails and says in its `TargetError`
     * how much it had removed by then counts as ended.
     */
    async removing(request: ErasureReference, target: string, run: () => Promise<number>): Promise<void> {
      const add = (counts: Partial<RemovedCount>) => {
        const named = Object.entries(counts).map(([count, by]) => [`removed.${target}.${count}`, by] as const)
        return progress.updateOne({ _id: idOf(request) }, { $inc: Object.fromEntries(named) }, majority)
      }
      await add({ begun: 1 })
      try {
        const items = await run()
        await add({ ended: 1, items })
      } catch (error) {
        if (error instanceof TargetError && error.removed !== undefined)
          await add({ ended: 1, items: error.removed })
        throw error
      }
    },

    /** Adds rows; those that are there stay as they are. */
    async addTexts(rows: readonly ErasureTextDocument[]): Promise<void> {
      if (rows.length === 0) return
      await texts.bulkWrite(
        rows.map((row) => ({
          updateOne: { filter: { _id: row._id }, update: { $setOnInsert: row }, upsert: true },
        })),
        { ordered: false, ...majority },
      )
    },

    /** The rows of a request by event, then slot. */
    textsOf: ({ organizationId, requestId }: ErasureReference) =>
      texts.find({ organizationId, requestId }).sort({ eventId: 1, slot: 1 }),

    /** What only the erasing needed goes: identifiers, where they stood, and the key of what is kept, if nothing is. */
    async forget(request: ErasureReference): Promise<void> {
      const { organizationId, requestId } = request
      const _id = idOf(request)
      await texts.deleteMany({ organizationId, requestId })
      const searched = { workKey: '', sealedIdentifiers: '' } as const
      const { matchedCount } = await progress.updateOne(
        { _id, exempt: 0 },
        { $unset: { ...searched, restrictedKey: '' } },
        majority,
      )
      if (matchedCount === 0) await progress.updateOne({ _id }, { $unset: searched }, majority)
    },
  }
}
