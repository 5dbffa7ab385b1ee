/**
 * How each collection forgets an organization. Whoever adds a collection says it here (the type asks for it): rows that
 * name their organization (`organizationId`, or an `_id` of `<org>` or `<org>/…`) go; others say why they stay.
 */
import type { Db, Filter } from 'mongodb'
import { collectionNames, type CollectionName } from '../mongo/collections.js'

export type Removal = 'rows' | 'bindings' | { readonly stays: string }

export const removals: Readonly<Record<CollectionName, Removal>> = {
  accessKeys: 'bindings',
  actionSchemas: { stays: 'of the deployment: no organization has its own' },
  anchorHeads: { stays: 'the anchor log goes on: hashes under random log ids' },
  anchorLogs: { stays: 'hashes under random log ids; the next entry is without it' },
  anchorTiles: { stays: 'the anchor log goes on: hashes' },
  anchorWitnesses: { stays: 'of the deployment' },
  archiveClaims: 'rows',
  archiveSegments: 'rows',
  deployment: { stays: 'of the deployment' },
  directory: 'rows',
  erasureActions: 'rows',
  erasureProgress: 'rows',
  erasureRequests: 'rows',
  erasureTexts: 'rows',
  events: 'rows',
  holds: 'rows',
  lifecycles: 'rows',
  logEntries: 'rows',
  logHeads: 'rows',
  logTiles: 'rows',
  offboardings: { stays: 'what was done: ids, principals, times and counts' },
  organizations: { stays: 'a tombstone, so that the id is never given again: no key, no setting' },
  redactions: 'rows',
  restoredEvents: 'rows',
  restores: 'rows',
  retentionPolicies: 'rows',
  retentionRuns: 'rows',
  scanFindings: 'rows',
  scans: 'rows',
  signingKeys: { stays: 'of the deployment: one key signs all logs' },
  subjects: 'rows',
  webhookDeliveries: 'rows',
  webhookSecrets: 'rows',
}

/** Everything whose row names the organization. `0` follows `/` in the order of texts. */
const rowsOf = (organizationId: string): Filter<Row> => ({
  $or: [
    { organizationId },
    { _id: organizationId },
    { _id: { $gte: `${organizationId}/`, $lt: `${organizationId}0` } },
  ],
})

interface Row {
  readonly _id: string
  readonly organizationId?: string
  /** Of an access key. */
  readonly organizations?: string[]
}

const names = (how: 'rows' | 'bindings'): string[] =>
  Object.entries(removals).flatMap(([name, removal]) => (removal === how ? [name] : []))
const staying = new Set<string>(
  Object.entries(removals).flatMap(([name, removal]) => (typeof removal === 'object' ? [name] : [])),
)

/** Removes every row of the organization; safe to repeat. */
export async function removeRows(db: Db, organizationId: string, beat: () => void): Promise<void> {
  await someAtOnce(names('rows'), async (name) => {
    beat()
    await db.collection<Row>(name).deleteMany(rowsOf(organizationId))
  })
  // A key for all organizations has a text there, which is no list: also where the organization is called `all`.
  const keys = db.collection<Row>(collectionNames.accessKeys)
  await keys.deleteMany({ organizations: { $eq: [organizationId] } })
  await keys.updateMany(boundTo(organizationId), { $pull: { organizations: organizationId } })
}

const boundTo = (organizationId: string): Filter<Row> => ({
  $and: [{ organizations: { $type: 'array' as const } }, { organizations: organizationId }],
})

/** Rows of the organization that are there, by collection: of every collection that there is, known or not. */
export async function rowsLeft(
  db: Db,
  organizationId: string,
  beat: () => void,
): Promise<Readonly<Record<string, number>>> {
  const left: Record<string, number> = {}
  const there = await db.listCollections({}, { nameOnly: true }).toArray()
  const looked = there.map(({ name }) => name).filter((name) => !staying.has(name))
  await someAtOnce(looked, async (name) => {
    beat()
    const filter = name === collectionNames.accessKeys ? boundTo(organizationId) : rowsOf(organizationId)
    const count = await db.collection<Row>(name).countDocuments(filter)
    if (count > 0) left[name] = count
  })
  return left
}

const atOnce = 4

async function someAtOnce<Item>(items: readonly Item[], work: (item: Item) => Promise<void>): Promise<void> {
  for (let first = 0; first < items.length; first += atOnce)
    await Promise.all(items.slice(first, first + atOnce).map(work))
}
