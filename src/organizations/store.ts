/**
 * The collection `organizations`: one document an organization, its settings and its wrapped key.
 *
 * `_id` is the organization's id, so that of two processes that provision the same one, one fails. An
 * organization of another region has a document too, with its region and nothing else, so that a request for
 * it can be sent on; it has no key, because none of its events is ever stored here.
 */
import type { ClientSession, Collection, Db } from 'mongodb'
import type { DetectionPattern } from '../events/detectors/patterns.js'
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
  /** Absent where the organization lives in another region. */
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
  const { _id, key: _key, ...organization } = document
  return { id: _id, ...organization }
}
