/**
 * Deliveries in MongoDB: `webhookDeliveries`, one document for each recipient of each request. It says how often and with
 * what outcome, never who or where: name and address stay in the request, sealed, and go with it.
 *
 * An attempt begins by a compare-and-set that takes it (`begin`): of two workers that come at once one calls, and one that
 * dies during its call has left the moment of the next. If the process dies between the answer and `record`, the
 * recipient is called again, under the same id.
 */
import type { Collection, Db } from 'mongodb'
import { collectionNames } from '../mongo/collections.js'
import type { DeliveryFailure, DeliveryOutcome, DeliveryStatus } from './contract.js'

/** What a delivery is about: an erasure request, so far. */
export interface DeliverySubject {
  readonly organizationId: string
  /** `erasure_…` */
  readonly requestId: string
}

export interface DeliveryDocument extends DeliveryOutcome {
  /** `<organizationId>/<requestId>/<position>` */
  readonly _id: string
  readonly organizationId: string
  readonly requestId: string
  /** The `timestamp` of the body: the same in each attempt. */
  readonly createdAt: Date
  readonly givesUpAt: Date
}

export type DeliveryStore = ReturnType<typeof createDeliveryStore>

const majority = { writeConcern: { w: 'majority' as const, journal: true } }
const idOf = ({ organizationId, requestId }: DeliverySubject, position: number) =>
  `${organizationId}/${requestId}/${String(position)}`

/** Creates the index of deliveries; safe to repeat. */
export async function ensureDeliveryIndexes(db: Db): Promise<void> {
  await db
    .collection<DeliveryDocument>(collectionNames.webhookDeliveries)
    .createIndexes([{ key: { organizationId: 1, requestId: 1, position: 1 }, name: 'request' }])
}

export function createDeliveryStore(db: Db) {
  const deliveries: Collection<DeliveryDocument> = db.collection(collectionNames.webhookDeliveries)

  /** The deliveries of a request in the order of its recipients. */
  const of = ({ organizationId, requestId }: DeliverySubject): Promise<DeliveryDocument[]> =>
    deliveries.find({ organizationId, requestId }).sort({ position: 1 }).toArray()

  return {
    /** Makes the deliveries of a request, as many as it has recipients; those that are there stay as they are. */
    async ensure(about: DeliverySubject, count: number, createdAt: Date, givesUpAt: Date): Promise<void> {
      const { organizationId, requestId } = about
      await deliveries.bulkWrite(
        Array.from({ length: count }, (_, position) => ({
          updateOne: {
            filter: { _id: idOf(about, position) },
            update: {
              $setOnInsert: {
                organizationId,
                requestId,
                position,
                status: 'pending' as const,
                attempts: 0,
                createdAt,
                givesUpAt,
                lastAttemptAt: null,
                nextAttemptAt: createdAt,
                endedAt: null,
                lastStatus: null,
                lastFailure: null,
              },
            },
            upsert: true,
          },
        })),
        { ordered: false, ...majority },
      )
    },

    of,

    /** How the recipients of a request stand, in their order; empty where it names none, or was not at them yet. */
    outcomesOf: async (about: DeliverySubject): Promise<DeliveryOutcome[]> =>
      (await of(about)).map(outcomeOf),

    /**
     * Takes the attempt that is due, and writes down when the next one comes should nothing be heard of this one.
     * @returns whether it is the caller's to make
     */
    async begin(
      { _id, attempts }: Pick<DeliveryDocument, '_id' | 'attempts'>,
      at: Date,
      nextAttemptAt: Date,
    ): Promise<boolean> {
      const { modifiedCount } = await deliveries.updateOne(
        { _id, status: 'pending', attempts },
        { $set: { attempts: attempts + 1, lastAttemptAt: at, nextAttemptAt } },
        majority,
      )
      return modifiedCount === 1
    },

    /** Writes down what came of an attempt, unless a later one has begun since or it has ended. */
    async record(
      { _id, attempts }: Pick<DeliveryDocument, '_id' | 'attempts'>,
      outcome: {
        readonly status: DeliveryStatus
        readonly at: Date
        readonly nextAttemptAt: Date | null
        readonly lastStatus: number | null
        readonly lastFailure: DeliveryFailure | null
      },
    ): Promise<void> {
      const { status, at, nextAttemptAt, lastStatus, lastFailure } = outcome
      // An acknowledgement counts whenever it comes: the recipient has been told.
      const stillOurs = status === 'acknowledged' ? {} : { attempts }
      await deliveries.updateOne(
        { _id, status: 'pending', ...stillOurs },
        {
          $set: { status, nextAttemptAt, lastStatus, lastFailure, endedAt: status === 'pending' ? null : at },
        },
        majority,
      )
    },
  }
}

function outcomeOf(document: DeliveryDocument): DeliveryOutcome {
  const { position, status, attempts, lastAttemptAt, nextAttemptAt, endedAt, lastStatus, lastFailure } =
    document
  return { position, status, attempts, lastAttemptAt, nextAttemptAt, endedAt, lastStatus, lastFailure }
}
