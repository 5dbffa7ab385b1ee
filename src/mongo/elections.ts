/** Whether the replica set has held an election just now. */
import type { Db } from 'mongodb'
import { z } from 'zod'

const statusSchema = z.object({
  date: z.date(),
  members: z.array(z.object({ state: z.int(), electionDate: z.date().optional() })),
})
const primary = 1

/**
 * Was the primary elected within the last `withinMs`? Also true where the server does not say: the user may lack the
 * privilege for `replSetGetStatus` (role `clusterMonitor`), and to wait longer does no harm.
 */
export async function electedWithin(db: Db, withinMs: number): Promise<boolean> {
  try {
    const { date, members } = statusSchema.parse(await db.admin().command({ replSetGetStatus: 1 }))
    const elected = members.find(({ state }) => state === primary)?.electionDate
    return elected === undefined || date.getTime() - elected.getTime() <= withinMs
  } catch {
    return true
  }
}
