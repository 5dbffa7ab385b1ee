/** Offboardings in MongoDB (`offboardings`): one document each, for ever. It is what is left of the organization. */
import type { ClientSession, Collection, Db, UpdateFilter } from 'mongodb'
import { collectionNames } from '../mongo/collections.js'
import type {
  OffboardingReason,
  OffboardingReference,
  OffboardingState,
  OffboardingStep,
} from './contract.js'

export interface StepTimes {
  readonly intendedAt: Date
  readonly doneAt?: Date
}

/** The organization's log as it ended. */
export interface FinalLog {
  readonly generation: number
  readonly size: number
  /** Hex. */
  readonly root: string
  /** SHA-256 of the signed checkpoint, in hex. */
  readonly checkpointSha256: string
  /** The checkpoint as it was signed; one that an earlier version took is not there any more. */
  readonly checkpoint?: string
}

export interface OffboardingDocument extends OffboardingReference {
  /** `offboarding_…` */
  readonly _id: string
  readonly state: OffboardingState
  /** Present until it is withdrawn: an organization has one at most. */
  readonly standing?: true
  readonly reason: string
  /** `prn_…` */
  readonly submitter: string
  readonly requestedAt: Date
  readonly approver: string | null
  readonly approvedAt: Date | null
  readonly coolingOffHours: number
  readonly coolingOffEndsAt: Date | null
  /** When intake was closed: the point of no return. */
  readonly closedAt: Date | null
  readonly steps: Readonly<Partial<Record<OffboardingStep, StepTimes>>>
  readonly operator: {
    readonly reason: OffboardingReason
    readonly step: OffboardingStep
    readonly at: Date
  } | null
  readonly final: FinalLog | null
  /** The event `annals.organization.offboarding_started` in the log of the deployment. */
  readonly startedEventId?: string
  /** Rows that went, by collection, as counted before. */
  readonly removed: Readonly<Record<string, number>> | null
  /** Periods whose keys wrapped keys that were destroyed: until they are gone, backups may still open them. */
  readonly keyPeriods: readonly number[]
  /** Objects of the archive that are under lock still. */
  readonly locked: number
  /** The event `annals.organization.offboarded` in the log of the deployment. */
  readonly eventId: string | null
  readonly endedAt: Date | null
  readonly withdrawnBy: string | null
  /** SHA-256 over principal and idempotency key: it names no organization’s secret, which will be gone. */
  readonly creation: string | null
}

export type OffboardingStore = ReturnType<typeof createOffboardingStore>

const majority = { writeConcern: { w: 'majority' as const, journal: true } }

export function createOffboardingStore(db: Db, now: () => Date = () => new Date()) {
  const offboardings: Collection<OffboardingDocument> = db.collection(collectionNames.offboardings)

  const find = async ({
    organizationId,
    offboardingId,
  }: OffboardingReference): Promise<OffboardingDocument | undefined> =>
    (await offboardings.findOne({ _id: offboardingId, organizationId })) ?? undefined

  return {
    find,
    /** @throws MongoServerError (duplicate key) where another one stands, or the idempotency key was used */
    async insert(document: OffboardingDocument, session: ClientSession): Promise<void> {
      await offboardings.insertOne(document, { session })
    },
    createdBy: async (organizationId: string, creation: string): Promise<OffboardingDocument | undefined> =>
      (await offboardings.findOne({ organizationId, creation })) ?? undefined,
    /** Newest first. */
    list: (organizationId: string, limit: number): Promise<OffboardingDocument[]> =>
      offboardings.find({ organizationId }, { sort: { requestedAt: -1, _id: -1 }, limit }).toArray(),
    /** Changes one that is in one of these states. @returns whether it was */
    async change(
      { organizationId, offboardingId }: OffboardingReference,
      from: readonly OffboardingState[],
      set: UpdateFilter<OffboardingDocument>['$set'],
      session?: ClientSession,
    ): Promise<boolean> {
      const { matchedCount } = await offboardings.updateOne(
        { _id: offboardingId, organizationId, state: { $in: [...from] } },
        {
          $set: { ...set },
          ...(set?.state === 'withdrawn' ? { $unset: { standing: '' as const } } : {}),
        },
        session === undefined ? majority : { session },
      )
      return matchedCount === 1
    },
    /**
     * Runs a step unless its outcome is recorded: intent, work, outcome. Work that is repeated must find what it did.
     */
    async once(
      reference: OffboardingReference,
      step: OffboardingStep,
      work: (document: OffboardingDocument) => Promise<UpdateFilter<OffboardingDocument>['$set']>,
    ): Promise<void> {
      const _id = reference.offboardingId
      const document = await find(reference)
      if (document === undefined) throw new Error('a step of an offboarding that is not there')
      if (document.steps[step]?.doneAt !== undefined) return
      await offboardings.updateOne(
        { _id, [`steps.${step}`]: { $exists: false } },
        { $set: { [`steps.${step}`]: { intendedAt: now() } } },
        majority,
      )
      const set = await work(document)
      await offboardings.updateOne({ _id }, { $set: { ...set, [`steps.${step}.doneAt`]: now() } }, majority)
    },
  }
}

/** Makes the indexes of offboardings; safe to repeat. */
export async function ensureOffboardingIndexes(db: Db): Promise<void> {
  await db.collection<OffboardingDocument>(collectionNames.offboardings).createIndexes([
    { key: { organizationId: 1, requestedAt: -1 }, name: 'newest_first' },
    {
      key: { organizationId: 1 },
      name: 'one_at_most',
      unique: true,
      partialFilterExpression: { standing: true },
    },
  ])
}
