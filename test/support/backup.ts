/** A backup of a world's database, by hand. */
import type { Document } from 'mongodb'
import type { Core } from '../../src/composition.js'

/** All that is in the database now, as a backup holds it; the function puts it back, as `mongorestore --drop` does. */
export async function backupOf({ db }: Core): Promise<() => Promise<void>> {
  const saved = new Map<string, Document[]>()
  for (const { name } of await db.listCollections().toArray())
    saved.set(name, await db.collection(name).find({}, { promoteValues: false }).toArray())
  return async () => {
    for (const { name } of await db.listCollections().toArray()) {
      await db.collection(name).deleteMany({})
      const documents = saved.get(name) ?? []
      if (documents.length > 0) await db.collection(name).insertMany(documents)
    }
  }
}
