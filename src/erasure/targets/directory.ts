/** The directory and the subjects: no entry leads to the person, and no key is left. */
import { collectionNames } from '../../mongo/collections.js'
import { subjectDocumentId, type SubjectStore } from '../../subjects/store.js'
import type { ErasureTarget, ErasureWork } from './contract.js'

export function directoryTarget({ subjects, directory }: SubjectStore): ErasureTarget {
  const entries = ({ organizationId, subjects: references }: ErasureWork) => ({
    organizationId,
    subject: { $in: [...references] },
  })
  return {
    name: 'directory',
    collections: [collectionNames.directory, collectionNames.subjects],
    scope: (work) => directory.countDocuments(entries(work)),
    // The fence took them; what a process listed that slept through it goes here.
    async erase(work) {
      const { deletedCount } = await directory.deleteMany(entries(work))
      return deletedCount
    },
    async verify(work) {
      const ids = work.subjects.map((reference) => subjectDocumentId(work.organizationId, reference))
      const open = {
        _id: { $in: ids },
        $or: [{ key: { $exists: true } }, { state: { $ne: 'erased' as const } }],
      }
      return (await directory.countDocuments(entries(work))) + (await subjects.countDocuments(open))
    },
  }
}
