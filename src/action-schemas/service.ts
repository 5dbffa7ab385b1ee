/**
 * Action schemas: put by owners, asked by intake for every event.
 *
 * Which actions have schemas is read once every few seconds, whole, so that an action without one costs a look into
 * a map and no name that a client sends ever becomes a query. A schema itself never changes: compiled once, it is
 * kept as long as there is room.
 */
import type { MongoClient } from 'mongodb'
import type { Caller } from '../access/contract.js'
import { AnnalsError, notFound } from '../errors.js'
import { canonicalJson } from '../events/canonical-json.js'
import type { ActionRule, ActionRules, JsonObject, SystemEventWriter } from '../events/contract.js'
import { FreshCache } from '../fresh-cache.js'
import { inTransaction } from '../mongo/transaction.js'
import { isDuplicateKey } from '../mongo/unavailable.js'
import { systemOrganizationId } from '../organizations/contract.js'
import { checkSchema } from './check.js'
import { compileSchema, type EventCheck } from './compile.js'
import { actionSchemaLimits as limits, type ActionSchema } from './contract.js'
import {
  actionSchemaOf,
  findSchemasOf,
  findVersions,
  schemaDocumentId,
  type ActionSchemaCollection,
  type ActionSchemaDocument,
} from './store.js'

export interface ActionSchemaService extends ActionRules {
  /**
   * Adds a version; the same again changes nothing.
   * @throws AnnalsError `invalid` | `version_exists` | `forbidden` for a key that is bound to organizations
   */
  put(wanted: WantedSchema, author: Caller, requestId: string): Promise<ActionSchema>
  /** All versions of an action, the oldest first. @throws AnnalsError `not_found` */
  get(action: string): Promise<ActionSchema[]>
}

export interface WantedSchema {
  readonly action: string
  readonly version: number
  /** Passed `checkJson`. */
  readonly schema: JsonObject
  /** Metadata keys that are personal, beside those that the schema marks. */
  readonly personal?: readonly string[] | undefined
}

export interface ActionSchemaDependencies {
  readonly client: MongoClient
  readonly schemas: ActionSchemaCollection
  readonly systemEvents: Pick<SystemEventWriter, 'writeInTransaction'>
}

const maxAgeMs = 5_000
const maxCompiled = 500
const everything = 'all'

export function createActionSchemaService(dependencies: ActionSchemaDependencies): ActionSchemaService {
  const { client, schemas, systemEvents } = dependencies
  const versions = new FreshCache({ max: 1, maxAgeMs, load: () => findVersions(schemas) })
  const rules = new FreshCache({ max: maxCompiled, maxAgeMs: Number.MAX_SAFE_INTEGER, load })

  /** The rule of an action, given which versions there are. */
  function ruleOf(
    known: ReadonlyMap<string, ReadonlySet<number>> | undefined,
    action: string,
    version: number,
  ): ActionRule | undefined | Promise<ActionRule | undefined> {
    const its = known?.get(action)
    if (its === undefined) return undefined
    if (!its.has(version)) return noSuchVersion
    const id = schemaDocumentId(action, version)
    return rules.peek(id) ?? rules.get(id)
  }

  async function load(id: string): Promise<ActionRule> {
    const document = await schemas.findOne({ _id: id })
    if (document === null) throw new Error('an action schema was deleted')
    const check = compileSchema(actionSchemaOf(document).schema)
    if (typeof check !== 'function') throw new Error('a stored action schema does not compile')
    const { personal } = document
    return { check, personalKeys: personal.length === 0 ? undefined : new Set(personal) }
  }

  async function insert(
    document: ActionSchemaDocument,
    { action, version }: WantedSchema,
    author: Caller,
    requestId: string,
  ) {
    await inTransaction(client, async (session) => {
      const [others, total] = [
        await findSchemasOf(schemas, action, session),
        await schemas.countDocuments({}, { session }),
      ]
      if (others.length >= limits.maxVersions || total >= limits.maxSchemas) throw full()
      await schemas.insertOne(document, { session })
      await systemEvents.writeInTransaction(
        {
          organizationId: systemOrganizationId,
          action: 'annals.action_schema.added',
          occurredAt: document.createdAt,
          actor: { type: 'principal', id: author.principal },
          targets: [{ type: 'action_schema', id: document._id }],
          context: { requestId },
          metadata: { action, version, personalKeys: document.personal.length },
        },
        session,
      )
    })
  }

  return {
    of(action, version) {
      const known = versions.peek(everything)
      if (known !== undefined) return ruleOf(known, action, version)
      return versions.get(everything).then((loaded) => ruleOf(loaded, action, version))
    },
    async put(wanted, author, requestId) {
      // It changes what every organization may send.
      if (author.organizations !== 'all')
        throw new AnnalsError('forbidden', 'Action schemas take a key that is bound to no organizations.')
      const document = documentOf(wanted, author)
      const existing = await schemas.findOne({ _id: document._id })
      if (existing !== null) return sameOr409(existing, document)
      try {
        await insert(document, wanted, author, requestId)
        return actionSchemaOf(document)
      } catch (error) {
        if (!isDuplicateKey(error)) throw error
        const first = await schemas.findOne({ _id: document._id })
        if (first === null) throw error
        return sameOr409(first, document)
      } finally {
        versions.forgetAll()
      }
    },
    async get(action) {
      const found = await findSchemasOf(schemas, action)
      if (found.length === 0) throw notFound()
      return found.map(actionSchemaOf)
    },
  }
}

/** The document of a schema that may be stored. @throws AnnalsError `invalid` */
function documentOf(
  { action, version, schema, personal = [] }: WantedSchema,
  author: Caller,
): ActionSchemaDocument {
  const text = canonicalJson(schema)
  if (text.length > limits.maxLength) {
    const message = `at most ${String(limits.maxLength)} characters of JSON`
    throw invalidSchema([{ path: 'schema', code: 'too_large', message }])
  }
  const checked = checkSchema(schema)
  if (checked.errors.length > 0) throw invalidSchema(checked.errors)
  const compiled: EventCheck | { errors: AnnalsError['errors'] } = compileSchema(schema)
  if (typeof compiled !== 'function') throw invalidSchema(compiled.errors)
  return {
    _id: schemaDocumentId(action, version),
    schema: text,
    personal: [...new Set([...personal, ...checked.personal])].sort(),
    createdAt: new Date(),
    createdBy: author.principal,
  }
}

function sameOr409(existing: ActionSchemaDocument, wanted: ActionSchemaDocument): ActionSchema {
  const same =
    existing.schema === wanted.schema &&
    canonicalJson([...existing.personal]) === canonicalJson([...wanted.personal])
  if (same) return actionSchemaOf(existing)
  throw new AnnalsError('version_exists', 'This version of the action has another schema; put a new version.')
}

const noSuchVersion: ActionRule = {
  check: () => [
    { path: 'version', code: 'not_allowed', message: 'the action has schemas, and none for this version' },
  ],
  personalKeys: undefined,
}

const invalidSchema = (errors: AnnalsError['errors']) =>
  new AnnalsError('invalid', 'The schema cannot be taken; see errors.', { errors })

const full = () => {
  const message = `at most ${String(limits.maxVersions)} versions of an action, ${String(limits.maxSchemas)} schemas in all`
  return invalidSchema([{ path: 'version', code: 'too_many', message }])
}
