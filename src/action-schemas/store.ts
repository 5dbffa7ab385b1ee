/**
 * The collection `actionSchemas`: one document a version of an action's schema, for the whole deployment. `_id` is
 * `<action>/<version>` (no action holds a slash). Documents are inserted and never changed; the schema is JSON text,
 * because its keys may hold dots and begin with `$`.
 */
import type { ClientSession, Collection, Db } from 'mongodb'
import type { JsonObject } from '../events/contract.js'
import { collectionNames } from '../mongo/collections.js'
import { actionSchemaLimits, type ActionSchema } from './contract.js'

export interface ActionSchemaDocument {
  readonly _id: string
  /** Canonical JSON. */
  readonly schema: string
  readonly personal: readonly string[]
  readonly createdAt: Date
  readonly createdBy: string
}

export type ActionSchemaCollection = Collection<ActionSchemaDocument>

export const actionSchemaCollection = (db: Db): ActionSchemaCollection =>
  db.collection(collectionNames.actionSchemas)

/** Makes the collection, so that a transaction can insert into it; changes nothing where it is there. */
export async function ensureActionSchemaCollection(db: Db): Promise<void> {
  await db.createCollection(collectionNames.actionSchemas).catch((error: unknown) => {
    // 48 NamespaceExists.
    if (!(error instanceof Error && 'code' in error && error.code === 48)) throw error
  })
}

export const schemaDocumentId = (action: string, version: number) => `${action}/${String(version)}`

export function actionAndVersionOf(documentId: string): [action: string, version: number] {
  const slash = documentId.lastIndexOf('/')
  return [documentId.slice(0, slash), Number(documentId.slice(slash + 1))]
}

export function actionSchemaOf(document: ActionSchemaDocument): ActionSchema {
  const { _id, schema, ...rest } = document
  const [action, version] = actionAndVersionOf(_id)
  return { action, version, ...rest, schema: JSON.parse(schema) as JsonObject }
}

/** Which versions each action has: a look through one index, no document is read. */
export async function findVersions(schemas: ActionSchemaCollection): Promise<Map<string, Set<number>>> {
  const found = schemas
    .find({}, { projection: { _id: 1 } })
    .sort({ _id: 1 })
    .limit(actionSchemaLimits.maxSchemas * 2)
  const versions = new Map<string, Set<number>>()
  for await (const { _id } of found) {
    const [action, version] = actionAndVersionOf(_id)
    const known = versions.get(action)
    if (known === undefined) versions.set(action, new Set([version]))
    else known.add(version)
  }
  return versions
}

/** Every version of an action's schema, oldest version first. '0' follows '/' in ASCII. */
export async function findSchemasOf(
  schemas: ActionSchemaCollection,
  action: string,
  session?: ClientSession,
): Promise<ActionSchemaDocument[]> {
  const found = await schemas
    .find({ _id: { $gt: `${action}/`, $lt: `${action}0` } }, session === undefined ? {} : { session })
    .limit(actionSchemaLimits.maxVersions * 2)
    .toArray()
  return found.sort((a, b) => actionAndVersionOf(a._id)[1] - actionAndVersionOf(b._id)[1])
}
