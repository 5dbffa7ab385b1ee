/**
 * Access keys: made, listed, rotated, revoked. Every change and its event in `_annals` are one transaction.
 *
 * An owner hands out what they have, and no more: not another organization, not the personal grant. A key that
 * reaches beyond its viewer is, to them, not there.
 */
import { hash } from 'node:crypto'
import type { Filter, MongoClient } from 'mongodb'
import { AnnalsError, notFound } from '../errors.js'
import type { JsonObject, SystemEvent, SystemEventWriter } from '../events/contract.js'
import { newId, newReference } from '../ids.js'
import { inTransaction } from '../mongo/transaction.js'
import { isDuplicateKey } from '../mongo/unavailable.js'
import { systemOrganizationId } from '../organizations/contract.js'
import type { AccessKeyAuthenticator } from './authenticator.js'
import { boundTo, type Caller } from './contract.js'
import type { NewAccessKey } from './schema.js'
import { hashSecret, newSecret } from './secrets.js'
import { accessKeyOf, type AccessKey, type AccessKeyCollection, type AccessKeyDocument } from './store.js'

/** Who changes a key: a caller, or the operator at the machine (setup, command line), who may do everything. */
export type KeyAuthor = Caller | 'setup'

export interface ChangeOptions {
  readonly requestId?: string | undefined
  readonly idempotencyKey?: string | undefined
}

/** A key with its secret: the only time it is seen. */
export interface KeyWithSecret {
  readonly key: AccessKey
  readonly secret: string
}

export interface AccessKeyService {
  /** @throws AnnalsError `forbidden` beyond the maker's reach | `key_exists` for a used idempotency key */
  create(wanted: NewAccessKey, author: KeyAuthor, options?: ChangeOptions): Promise<KeyWithSecret>
  /** Newest first, from the one after (older than) `after`. */
  list(viewer: KeyAuthor, limit: number, after?: string): Promise<AccessKey[]>
  /** Revoking a revoked key changes nothing. @throws AnnalsError `not_found` */
  revoke(id: string, author: KeyAuthor, options?: ChangeOptions): Promise<void>
  /**
   * Gives the key a new secret; the old one works for `graceSeconds` more.
   * @throws AnnalsError `not_found` | `wrong_state` where it is revoked, expired or the environment's
   */
  rotate(id: string, graceSeconds: number, author: KeyAuthor, options?: ChangeOptions): Promise<KeyWithSecret>
  /** Where there is no key at all: makes an owner's, bound to everything, with the personal grant. */
  ensureFirstKey(): Promise<KeyWithSecret | undefined>
  /** Makes the secret of `ANNALS_ADMIN_KEY` an owner's; a former one is revoked. */
  ensureAdminKey(secret: string): Promise<AccessKey>
}

export interface AccessKeyServiceDependencies {
  readonly client: MongoClient
  readonly keys: AccessKeyCollection
  readonly systemEvents: Pick<SystemEventWriter, 'writeInTransaction'>
  readonly authenticator: Pick<AccessKeyAuthenticator, 'forget'>
}

export function createAccessKeyService(dependencies: AccessKeyServiceDependencies): AccessKeyService {
  const { client, keys, systemEvents, authenticator } = dependencies

  async function insert(key: AccessKeyDocument, author: KeyAuthor, requestId?: string): Promise<void> {
    await inTransaction(client, async (session) => {
      await keys.insertOne(key, { session })
      await systemEvents.writeInTransaction(
        keyEvent('created', key, author, requestId, describe(key)),
        session,
      )
    })
  }

  /** Changes one key and writes its event; `change` sees the key as it is in the transaction. */
  async function update(
    id: string,
    author: KeyAuthor,
    what: 'revoked' | 'rotated',
    options: ChangeOptions,
    change: (key: AccessKeyDocument) => Partial<AccessKeyDocument> | undefined,
    metadata: JsonObject = {},
  ): Promise<AccessKeyDocument> {
    const [before, after] = await inTransaction(client, async (session) => {
      const key = await keys.findOne({ _id: id }, { session })
      if (key === null || !reaches(author, key)) throw notFound()
      const values = change(key)
      if (values === undefined) return [key, key]
      await keys.updateOne({ _id: id }, { $set: values }, { session })
      const event = keyEvent(what, key, author, options.requestId, metadata)
      await systemEvents.writeInTransaction(event, session)
      return [key, { ...key, ...values }]
    })
    authenticator.forget(before)
    return after
  }

  const service: AccessKeyService = {
    async create(wanted, author, { requestId, idempotencyKey } = {}) {
      const organizations = boundOrganizations(wanted, author)
      if (wanted.personal === true && author !== 'setup' && !author.personal) {
        throw new AnnalsError('forbidden', 'A key without the personal grant cannot give it.')
      }
      const creation = idempotencyKey === undefined ? undefined : creationOf(author, idempotencyKey)
      const { key, secret } = newKey({
        role: wanted.role,
        principal: wanted.principal ?? newReference('prn'),
        name: wanted.name,
        organizations,
        personal: wanted.personal ?? false,
        ...(wanted.eventsPerMinute === undefined ? {} : { eventsPerMinute: wanted.eventsPerMinute }),
        expiresAt: wanted.expiresAt ?? null,
        createdBy: nameOf(author),
        ...(creation === undefined ? {} : { creation }),
      })
      try {
        await insert(key, author, requestId)
      } catch (error) {
        if (creation === undefined || !isDuplicateKey(error)) throw error
        const first = await keys.findOne({ creation })
        throw new AnnalsError(
          'key_exists',
          'The idempotency key has made a key; its secret is not shown again.',
          {
            members: first === null ? {} : { id: first._id },
          },
        )
      }
      return { key: accessKeyOf(key), secret }
    },

    async list(viewer, limit, after) {
      const filter: Filter<AccessKeyDocument> = {
        ...(after === undefined ? {} : { _id: { $lt: after } }),
        ...withinReach(viewer),
      }
      const found = await keys.find(filter).sort({ _id: -1 }).limit(limit).toArray()
      return found.map(accessKeyOf)
    },

    async revoke(id, author, options = {}) {
      await update(id, author, 'revoked', options, (key) =>
        key.revokedAt === null ? { revokedAt: new Date() } : undefined,
      )
    },

    async rotate(id, graceSeconds, author, options = {}) {
      const secret = newSecret(id)
      const key = await update(
        id,
        author,
        'rotated',
        options,
        (current) => {
          checkRotation(current, author)
          const now = new Date()
          const graceEnds = new Date(now.getTime() + graceSeconds * 1_000)
          // The one secret that is replaced keeps its grace; whatever was replaced before it ends here.
          const replaced = current.secrets.slice(0, 1).map(({ hash }) => ({ hash, expiresAt: graceEnds }))
          return { secrets: [{ hash: hashSecret(secret), expiresAt: null }, ...replaced], rotatedAt: now }
        },
        { graceSeconds },
      )
      return { key: accessKeyOf(key), secret }
    },

    async ensureFirstKey() {
      if ((await keys.findOne({}, { projection: { _id: 1 } })) !== null) return undefined
      const { key, secret } = newKey({ ...administrator('First administrator'), origin: 'first' })
      try {
        await insert(key, 'setup')
      } catch (error) {
        // Another setup made it, and has shown it.
        if (isDuplicateKey(error)) return undefined
        throw error
      }
      return { key: accessKeyOf(key), secret }
    },

    async ensureAdminKey(secret) {
      const secretHash = hashSecret(secret)
      const find = () => keys.findOne({ 'secrets.hash': secretHash })
      let current = await find()
      if (current === null) {
        const made = newKey({ ...administrator('ANNALS_ADMIN_KEY'), origin: 'environment' }, secret)
        try {
          await insert(made.key, 'setup')
          current = made.key
        } catch (error) {
          current = isDuplicateKey(error) ? await find() : null
          if (current === null) throw error
        }
      }
      const others = { origin: 'environment', revokedAt: null, _id: { $ne: current._id } } as const
      for (const former of await keys.find(others).toArray()) await service.revoke(former._id, 'setup')
      return accessKeyOf(current)
    },
  }
  return service
}

type KeyParts = Pick<
  AccessKeyDocument,
  | 'role'
  | 'principal'
  | 'name'
  | 'organizations'
  | 'personal'
  | 'eventsPerMinute'
  | 'expiresAt'
  | 'createdBy'
  | 'origin'
  | 'creation'
>

function newKey(parts: KeyParts, given?: string): { key: AccessKeyDocument; secret: string } {
  const id = newId('key')
  const secret = given ?? newSecret(id)
  const unused = { rotatedAt: null, revokedAt: null, lastUsedAt: null }
  const secrets = [{ hash: hashSecret(secret), expiresAt: null }]
  return { key: { _id: id, ...parts, secrets, createdAt: new Date(), ...unused }, secret }
}

const administrator = (name: string): Omit<KeyParts, 'origin' | 'creation'> => ({
  role: 'owner',
  principal: newReference('prn'),
  name,
  organizations: 'all',
  personal: true,
  expiresAt: null,
  createdBy: 'setup',
})

const nameOf = (author: KeyAuthor): string => (author === 'setup' ? 'setup' : author.principal)

/** Two makers may use the same idempotency key. */
const creationOf = (author: KeyAuthor, idempotencyKey: string): string =>
  hash('sha256', `${nameOf(author)}\0${idempotencyKey}`, 'base64url')

/** The organizations of a new key: those asked for, else the maker's. @throws AnnalsError `forbidden` */
function boundOrganizations(wanted: NewAccessKey, author: KeyAuthor): 'all' | string[] {
  if (author === 'setup') return wanted.organizations ?? 'all'
  if (wanted.organizations === undefined) {
    return author.organizations === 'all' ? 'all' : [...author.organizations]
  }
  if (wanted.organizations.some((id) => !boundTo(author, id))) {
    throw new AnnalsError(
      'forbidden',
      'A key cannot be bound to organizations that its maker is not bound to.',
    )
  }
  return wanted.organizations
}

/** Is everything the key is bound to also the author's? */
function reaches(author: KeyAuthor, key: AccessKeyDocument): boolean {
  if (author === 'setup' || author.organizations === 'all') return true
  return key.organizations !== 'all' && key.organizations.every((id) => boundTo(author, id))
}

/** `reaches` as a filter. */
const withinReach = (viewer: KeyAuthor): Filter<AccessKeyDocument> =>
  viewer === 'setup' || viewer.organizations === 'all'
    ? {}
    : { organizations: { $ne: 'all', $not: { $elemMatch: { $nin: [...viewer.organizations] } } } }

function checkRotation(key: AccessKeyDocument, author: KeyAuthor): void {
  // The new secret is shown to the author, who would get the grant with it.
  if (key.personal && author !== 'setup' && !author.personal) {
    throw new AnnalsError('forbidden', 'A key without the personal grant cannot rotate one that has it.')
  }
  if (key.origin === 'environment') {
    throw new AnnalsError('wrong_state', 'This key is ANNALS_ADMIN_KEY: change it there and run setup.')
  }
  const expired = key.expiresAt !== null && key.expiresAt.getTime() <= Date.now()
  if (key.revokedAt !== null || expired) {
    throw new AnnalsError(
      'wrong_state',
      'A key that is revoked or expired cannot be rotated; make a new one.',
    )
  }
}

const maxListedOrganizations = 50

/** What an event says of a new key: no free text, so not its name. A long list of organizations is only counted. */
const describe = ({ organizations, ...key }: AccessKeyDocument): JsonObject => ({
  role: key.role,
  principal: key.principal,
  personal: key.personal,
  organizations:
    organizations === 'all' || organizations.length <= maxListedOrganizations
      ? organizations
      : organizations.length,
  eventsPerMinute: key.eventsPerMinute ?? null,
  expiresAt: key.expiresAt?.toISOString() ?? null,
})

function keyEvent(
  what: 'created' | 'revoked' | 'rotated',
  key: AccessKeyDocument,
  author: KeyAuthor,
  requestId: string | undefined,
  metadata: JsonObject,
): SystemEvent {
  return {
    organizationId: systemOrganizationId,
    action: `annals.key.${what}`,
    occurredAt: new Date(),
    actor: author === 'setup' ? { type: 'system', id: 'setup' } : { type: 'principal', id: author.principal },
    targets: [{ type: 'access_key', id: key._id }],
    metadata,
    ...(requestId === undefined ? {} : { context: { requestId } }),
  }
}
