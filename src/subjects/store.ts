/**
 * What MongoDB holds about persons: `subjects` (state and wrapped key) and `directory` (how one is found again).
 *
 * No document here holds an identifier in clear: a directory id is a keyed hash, the identifier itself is
 * sealed under the subject's key, and no document tells when a person was first seen.
 *
 * Directory ids, `<mac>` = unpadded base64url HMAC-SHA-256 under the organization's index key:
 *   `<org>/id/<mac(type, id)>`          resolves an event whose party has an id
 *   `<org>/mail/<mac(e-mail)>`          resolves an event whose party has only an e-mail
 *   `<org>/seen/<mac(e-mail)>/<sub_…>`  lists a subject under an e-mail it was seen with; resolves nothing
 */
import type { Collection, Db } from 'mongodb'
import { collectionNames } from '../mongo/collections.js'

export type SubjectState = 'active' | 'fenced' | 'erased'

export interface SubjectDocument {
  /** `<organizationId>/<sub_…>` */
  readonly _id: string
  readonly organizationId: string
  readonly state: SubjectState
  /** Absent once erased. */
  readonly key?: { readonly period: number; readonly wrapped: Buffer }
  /** `erasure_…` of the request that fenced it. */
  readonly erasure?: string
}

export interface DirectoryDocument {
  readonly _id: string
  readonly organizationId: string
  /** `sub_…` */
  readonly subject: string
  /** Finds entries by an id whatever its type, or by an e-mail. */
  readonly lookup: Buffer
  /** The identifier as JSON, under the subject's key. */
  readonly sealed: Buffer
}

export interface SubjectStore {
  readonly subjects: Collection<SubjectDocument>
  readonly directory: Collection<DirectoryDocument>
}

export function subjectStore(db: Db): SubjectStore {
  return {
    subjects: db.collection(collectionNames.subjects),
    directory: db.collection(collectionNames.directory),
  }
}

export const subjectDocumentId = (organizationId: string, reference: string) =>
  `${organizationId}/${reference}`

/** Makes the indexes of both collections; changes nothing where they are there. */
export async function ensureSubjectIndexes({ subjects, directory }: SubjectStore): Promise<void> {
  await directory.createIndexes([
    { key: { organizationId: 1, lookup: 1 }, name: 'organization_lookup' },
    { key: { organizationId: 1, subject: 1 }, name: 'organization_subject' },
  ])
  await subjects.createIndexes([{ key: { organizationId: 1, state: 1 }, name: 'organization_state' }])
}
