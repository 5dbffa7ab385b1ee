/**
 * The collection `organizations`: one document an organization, its settings and its wrapped key.
 *
 * `_id` is the organization's id, so that of two processes that provision the same one, one fails. An
 * organization of another region has a document too, with its region and nothing else, so that a request for
 * it can be sent on; it has no key, because none of its events is ever stored here.
 */
import type { ClientSession, Collection, Db } from 'mongodb'
import type { DetectionPattern } from '../events/detectors/patterns.js'
import { notFound } from '../errors.js'
import { collectionNames } from '../mongo/collections.js'
import type { Organization, OrganizationSettings } from './contract.js'

/** An organization's key as its document holds it: opened by `keys/organization-keys.ts` only. */
export interface NewOrganizationKey {
  readonly wrapped: Buffer
  readonly rootKeyId: string
}

export interface OrganizationDocument extends OrganizationSettings {
  readonly _id: string
  readonly personTypes: string[]
  readonly detectionPatterns: DetectionPattern[]
  readonly version: number
  readonly createdAt: Date
  /** Since when it takes nothing any more, and by which offboarding. Without a key, nothing of it is left. */
  readonly offboarding?: { readonly offboardingId: string; readonly at: Date }
  /** Absent where the organization lives in another region, and where it was offboarded. */
  readonly key?: NewOrganizationKey
}

/** An organization of this region, with what opens its values. */
export interface ProvisionedOrganization extends Organization {
  readonly key: NewOrganizationKey
}

export type OrganizationCollection = Collection<OrganizationDocument>

export const organizationCollection = (db: Db): OrganizationCollection =>
  db.collection(collectionNames.organizations)

/** Makes the collection; changes nothing where it is there. */
export async function ensureOrganizationCollection(db: Db): Promise<void> {
  const existing = await db.listCollections({ name: collectionNames.organizations }).toArray()
  if (existing.length > 0) return
  try {
    await db.createCollection(collectionNames.organizations)
  } catch (error) {
    // 48 NamespaceExists: another setup was faster.
    if (!(error instanceof Error && 'code' in error && error.code === 48)) throw error
  }
}

/**
 * Reads one organization.
 * @param session sees what the caller's transaction has written so far
 */
export async function findOrganization(
  organizations: OrganizationCollection,
  id: string,
  session?: ClientSession,
): Promise<OrganizationDocument | undefined> {
  return (await organizations.findOne({ _id: id }, session === undefined ? {} : { session })) ?? undefined
}

export function organizationOf(document: OrganizationDocument): Organization {
  const { _id, key: _key, offboarding: _offboarding, ...organization } = document
  return { id: _id, ...organization }
}

/** Which offboarding closes an organization. */
export interface ClosedBy {
  readonly organizationId: string
  readonly offboardingId: string
}

export interface OrganizationClosing {
  /** From its commit on the organization takes nothing: within 5 s, everywhere. @throws AnnalsError `not_found` */
  close(by: ClosedBy, at: Date, session: ClientSession): Promise<void>
  /** Leaves a tombstone without key, name or settings. Safe to repeat. */
  destroyKey(by: ClosedBy): Promise<void>
}

export function createOrganizationClosing(
  organizations: OrganizationCollection,
  onChanged: (organizationId: string) => void,
): OrganizationClosing {
  return {
    async close({ organizationId, offboardingId }, at, session) {
      const { matchedCount } = await organizations.updateOne(
        { _id: organizationId, key: { $exists: true }, offboarding: { $exists: false } },
        { $set: { offboarding: { offboardingId, at } } },
        { session },
      )
      if (matchedCount !== 1) throw notFound()
      onChanged(organizationId)
    },
    async destroyKey({ organizationId, offboardingId }) {
      const filter = { _id: organizationId, 'offboarding.offboardingId': offboardingId }
      const closed = await organizations.findOne(filter)
      if (closed === null) throw notFound()
      const { offboarding } = closed
      if (offboarding === undefined) throw notFound()
      await organizations.replaceOne(filter, tombstoneOf(closed, offboarding), {
        writeConcern: { w: 'majority', journal: true },
      })
      onChanged(organizationId)
    },
  }
}

/** What stays of an organization, so that its id is never given again. */
export const tombstoneOf = (
  { region, createdAt, version }: Pick<OrganizationDocument, 'region' | 'createdAt' | 'version'>,
  offboarding: NonNullable<OrganizationDocument['offboarding']>,
): Omit<OrganizationDocument, '_id' | 'key'> => ({
  ...{ region, createdAt, version, offboarding },
  ...{ name: null, personTypes: [], detection: 'flag', detectionPatterns: [], coolingOffHours: 0 },
})
