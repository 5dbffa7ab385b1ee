/**
 * Organizations: provisioned by an owner or by their first event, changed, found, and sent to their region.
 *
 * Creation and its event are one transaction: an organization whose log lacks its beginning cannot be. Lookups
 * are cached for at most 5 s, so a change of settings reaches every process within that time.
 */
import type { ClientSession, MongoClient } from 'mongodb'
import type { Caller } from '../access/contract.js'
import { AnnalsError, notFound } from '../errors.js'
import type { JsonObject, SystemEvent, SystemEventWriter } from '../events/contract.js'
import { FreshCache } from '../fresh-cache.js'
import { inTransaction } from '../mongo/transaction.js'
import { isDuplicateKey } from '../mongo/unavailable.js'
import { organizationIdPattern, systemOrganizationId, type Organization } from './contract.js'
import { changedSettings, initialSettings, type OrganizationChange } from './settings.js'
import {
  findOrganization,
  organizationOf,
  type NewOrganizationKey,
  type OrganizationCollection,
  type OrganizationDocument,
  type ProvisionedOrganization,
} from './store.js'

export interface OrganizationServiceDependencies {
  readonly client: MongoClient
  readonly organizations: OrganizationCollection
  /** Makes the wrapped key of a new organization. */
  readonly createOrganizationKey: (organizationId: string) => Promise<NewOrganizationKey>
  readonly systemEvents: Pick<SystemEventWriter, 'writeInTransaction'>
  readonly region: { readonly name: string; readonly urls: ReadonlyMap<string, string> }
  readonly autoProvision: boolean
}

/** Who is behind a change: a key's principal, or Annals itself. */
export type Author = Pick<Caller, 'principal' | 'keyId'> | 'system'

export interface OrganizationService {
  /** The organization of a request. @throws AnnalsError `not_found` | `wrong_region` | `offboarded` */
  require(id: string): Promise<ProvisionedOrganization>
  /** The same, also where it takes nothing any more, as long as it has its key: what it accepted is sealed. */
  keyed(id: string): Promise<ProvisionedOrganization>
  /** What may be shown of it: without its key. @throws AnnalsError `not_found` | `wrong_region` */
  describe(id: string): Promise<Organization>
  /**
   * The organization of a write by a client: provisioned by its first event where that is on.
   * @throws AnnalsError `not_found` | `wrong_region` | `offboarded` | `forbidden` for Annals' own
   */
  ensure(id: string, author: Author): Promise<ProvisionedOrganization>
  /** `ensure` where the answer is at hand, without waiting: for intake's fast path. */
  known(id: string): ProvisionedOrganization | undefined
  /**
   * Creates or changes.
   * @throws AnnalsError `forbidden` | `wrong_region` | `invalid` | `offboarded`
   */
  put(id: string, change: OrganizationChange, author: Author, requestId?: string): Promise<PutResult>
  /** By id, from the one after `after`; those a caller is bound to. */
  list(caller: Caller, limit: number, after?: string): Promise<Organization[]>
  /** Another part of this process has changed the organization. */
  forget(id: string): void
  /** Makes the reserved organization of the deployment's own events; for setup, before any key is made. */
  ensureSystemOrganization(): Promise<ProvisionedOrganization>
}

export interface PutResult {
  readonly organization: Organization
  readonly created: boolean
}

const maxCached = 10_000
const maxAgeMs = 5_000

export function createOrganizationService(
  dependencies: OrganizationServiceDependencies,
): OrganizationService {
  const { client, organizations, createOrganizationKey, systemEvents, region } = dependencies
  const cache = new FreshCache<OrganizationDocument>({
    max: maxCached,
    maxAgeMs,
    load: (id) => findOrganization(organizations, id),
  })
  const creating = new Map<string, Promise<OrganizationDocument>>()

  /** Refuses an organization of another region, and one of which nothing is left. */
  const here = (document: OrganizationDocument): ProvisionedOrganization => {
    if (document.key === undefined && document.offboarding !== undefined) throw offboarded()
    if (document.key === undefined) throw wrongRegion(document.region, region.urls)
    return { ...organizationOf(document), key: document.key }
  }

  /** Inserts the document and its event, or answers the one that was there first. */
  async function create(
    document: OrganizationDocument,
    author: Author,
    requestId?: string,
  ): Promise<{ document: OrganizationDocument; created: boolean }> {
    try {
      await inTransaction(client, async (session) => {
        await organizations.insertOne(document, { session })
        await recordCreation(document, author, requestId, session)
      })
      return { document, created: true }
    } catch (error) {
      if (!isDuplicateKey(error)) throw error
      const winner = await findOrganization(organizations, document._id)
      if (winner === undefined) throw error
      return { document: winner, created: false }
    } finally {
      cache.forget(document._id)
    }
  }

  async function newDocument(id: string, change: OrganizationChange): Promise<OrganizationDocument> {
    const settings = initialSettings(change, region.name)
    return {
      _id: id,
      ...settings,
      personTypes: [...settings.personTypes],
      detectionPatterns: [...settings.detectionPatterns],
      version: 1,
      createdAt: new Date(),
      ...(settings.region === region.name ? { key: await createOrganizationKey(id) } : {}),
    }
  }

  /** An organization of another region has no log here: its registration stands in the deployment's. */
  async function recordCreation(
    document: OrganizationDocument,
    author: Author,
    requestId: string | undefined,
    session: ClientSession,
  ): Promise<void> {
    const foreign = document.key === undefined
    await systemEvents.writeInTransaction(
      organizationEvent('created', document, author, requestId, {
        organizationId: foreign ? systemOrganizationId : document._id,
        metadata: { version: document.version, region: document.region },
      }),
      session,
    )
  }

  async function change(
    document: OrganizationDocument,
    wanted: OrganizationChange,
    author: Author,
    requestId?: string,
  ): Promise<PutResult> {
    if (wanted.region !== undefined && wanted.region !== document.region) {
      throw invalidRegion('conflict', 'an organization keeps its region for life')
    }
    // Registering a foreign organization again changes nothing; anything else belongs to its region.
    if (document.key === undefined) {
      if (wanted.region === undefined) throw wrongRegion(document.region, region.urls)
      return { organization: organizationOf(document), created: false }
    }
    try {
      return await inTransaction(client, async (session) => {
        const current = await findOrganization(organizations, document._id, session)
        if (current === undefined) throw notFound()
        standing(current)
        const changed = changedSettings(current, wanted)
        if (changed.length === 0) return { organization: organizationOf(current), created: false }
        const values = Object.fromEntries(changed.map((name) => [name, wanted[name]]))
        const next: OrganizationDocument = { ...current, ...values, version: current.version + 1 }
        await organizations.updateOne(
          { _id: current._id, version: current.version },
          { $set: { ...values, version: next.version } },
          { session },
        )
        const event = organizationEvent('changed', next, author, requestId, {
          organizationId: next._id,
          metadata: { version: next.version, changed },
        })
        await systemEvents.writeInTransaction(event, session)
        return { organization: organizationOf(next), created: false }
      })
    } finally {
      cache.forget(document._id)
    }
  }

  async function provision(id: string, author: Author): Promise<OrganizationDocument> {
    const running = creating.get(id)
    if (running !== undefined) return running
    const creation = newDocument(id, {}).then((document) => create(document, author))
    const done = creation.then(({ document }) => document).finally(() => creating.delete(id))
    creating.set(id, done)
    return done
  }

  async function require(id: string): Promise<OrganizationDocument> {
    const document = organizationIdPattern.test(id) ? await cache.get(id) : undefined
    if (document === undefined) throw notFound()
    return document
  }

  return {
    known(id) {
      const document = cache.peek(id)
      return document?.key === undefined || document.offboarding !== undefined ? undefined : here(document)
    },
    require: async (id) => here(standing(await require(id))),
    keyed: async (id) => here(await require(id)),
    async describe(id) {
      const document = standing(await require(id))
      here(document)
      return organizationOf(document)
    },
    async ensure(id, author) {
      if (id === systemOrganizationId) throw reserved()
      const document = await cache.get(id)
      if (document !== undefined) return here(standing(document))
      if (!dependencies.autoProvision || !organizationIdPattern.test(id)) throw notFound()
      return here(await provision(id, author))
    },
    async put(id, wanted, author, requestId) {
      if (id === systemOrganizationId) throw reserved()
      const existing = await findOrganization(organizations, id)
      if (existing !== undefined) return change(standing(existing), wanted, author, requestId)
      checkRegion(wanted, region)
      const result = await create(await newDocument(id, wanted), author, requestId)
      if (!result.created) return change(result.document, wanted, author, requestId)
      return { organization: organizationOf(result.document), created: true }
    },
    async list(caller, limit, after) {
      const bound = caller.organizations === 'all' ? {} : { $in: [...caller.organizations] }
      const found = await organizations
        .find({ _id: { $gt: after ?? '', ...bound }, offboarding: { $exists: false } })
        .sort({ _id: 1 })
        .limit(limit)
        .toArray()
      return found.map(organizationOf)
    },
    forget: (id) => cache.forget(id),
    async ensureSystemOrganization() {
      const existing = await findOrganization(organizations, systemOrganizationId)
      return here(existing ?? (await provision(systemOrganizationId, 'system')))
    },
  }
}

function organizationEvent(
  what: 'created' | 'changed',
  document: OrganizationDocument,
  author: Author,
  requestId: string | undefined,
  event: { readonly organizationId: string; readonly metadata: JsonObject },
): SystemEvent {
  return {
    ...event,
    action: `annals.organization.${what}`,
    occurredAt: new Date(),
    actor:
      author === 'system' ? { type: 'system', id: 'annals' } : { type: 'principal', id: author.principal },
    targets: [{ type: 'organization', id: document._id }],
    ...(requestId === undefined ? {} : { context: { requestId } }),
  }
}

/** A new organization may be of this region, or of another one whose address is known and then without settings. */
function checkRegion(wanted: OrganizationChange, region: OrganizationServiceDependencies['region']): void {
  if (wanted.region === undefined || wanted.region === region.name) return
  if (!region.urls.has(wanted.region)) {
    throw invalidRegion('not_allowed', 'no address of this region is configured (ANNALS_REGION_URLS)')
  }
  const setting = Object.keys(wanted).find((name) => name !== 'region')
  if (setting !== undefined) {
    throw new AnnalsError('invalid', 'Settings of an organization of another region are kept there.', {
      errors: [{ path: setting, code: 'conflict', message: 'is set in the region of the organization' }],
    })
  }
}

const invalidRegion = (code: 'conflict' | 'not_allowed', message: string) =>
  new AnnalsError('invalid', 'The region of the organization cannot be this one.', {
    errors: [{ path: 'region', code, message }],
  })

const wrongRegion = (region: string, urls: ReadonlyMap<string, string>) => {
  const url = urls.get(region)
  return new AnnalsError('wrong_region', 'The organization lives in another region; nothing was stored.', {
    members: { region, ...(url === undefined ? {} : { url }) },
  })
}

/** Refuses one that takes nothing any more. */
function standing(document: OrganizationDocument): OrganizationDocument {
  if (document.offboarding !== undefined) throw offboarded()
  return document
}

const offboarded = () =>
  new AnnalsError('offboarded', 'The organization is offboarded; its id is never given again.')

const reserved = () =>
  new AnnalsError('forbidden', 'This organization is reserved for events of Annals itself.')
