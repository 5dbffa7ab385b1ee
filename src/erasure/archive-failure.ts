/** What the archive fails with, as the failure of the target that it is: by its name, and whether trying again may help. */
import { SegmentFault } from '../archive/segment-fault.js'
import { MemberGoneError } from '../archive/member-reader.js'
import { SpoolFullError } from '../archive/segment-spool.js'
import { ArchiveStoreError } from '../archive/stores/contract.js'
import { AnnalsError } from '../errors.js'
import { TargetError } from './targets/contract.js'

export const archiveTarget = 'archive_content'

/** @returns the same error where it is none of the archive's */
export function archiveFailure(error: unknown, removed?: number): unknown {
  const ofArchive =
    error instanceof ArchiveStoreError ||
    error instanceof SegmentFault ||
    error instanceof MemberGoneError ||
    error instanceof SpoolFullError ||
    (error instanceof AnnalsError && (error.code === 'unavailable' || error.code === 'archive_damaged'))
  if (!ofArchive) return error
  const options = { cause: error, ...(removed === undefined ? {} : { removed }) }
  return new TargetError(archiveTarget, 'archive_unavailable', options)
}
