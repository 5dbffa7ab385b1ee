/**
 * The content of archived segments. An archive that holds content of the organization blocks completion by its name until
 * its content can be written anew here; keys are gone by then, so that no person's block of it opens any more.
 */
import type { Db } from 'mongodb'
import type { SegmentDocument } from '../../archive/contract.js'
import { collectionNames } from '../../mongo/collections.js'
import { TargetError, type ErasureTarget, type ErasureWork } from './contract.js'

const name = 'archive_content'

export function archiveContent(db: Db): ErasureTarget {
  const segments = db.collection<SegmentDocument>(collectionNames.archiveSegments)
  const withContent = ({ organizationId }: ErasureWork) =>
    segments.countDocuments({ organizationId, content: { $ne: null } }, { limit: 1 })
  const refuse = async (work: ErasureWork): Promise<number> => {
    if ((await withContent(work)) > 0) throw new TargetError(name, 'target_unavailable', { removed: 0 })
    return 0
  }
  return {
    name,
    collections: [collectionNames.archiveSegments],
    scope: refuse,
    erase: refuse,
    verify: refuse,
  }
}
