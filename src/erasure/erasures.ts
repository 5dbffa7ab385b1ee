/** The erasure requests of one process: their store, what changes them, and what opens them for the erasing steps. */
import type { Db, MongoClient } from 'mongodb'
import type { SystemEventWriter } from '../events/contract.js'
import type { EventOrganizations } from '../events/organizations.js'
import type { PeriodKeys } from '../keys/period-keys.js'
import type { OrganizationService } from '../organizations/service.js'
import type { PolicyService } from '../retention/policies.js'
import { createErasureProgress, type ErasureProgress } from './progress.js'
import { createErasureRecorder, type ErasureRecorder } from './recorder.js'
import { createErasureRequests, type RequestOpener } from './requests.js'
import type { ErasureOrganization } from './calls.js'
import { createErasureStore, type ErasureStore } from './store.js'

export interface Erasures {
  readonly store: ErasureStore
  readonly recorder: ErasureRecorder
  /** How far the erasing of each has come. */
  readonly progress: ErasureProgress
  /** What the erasing steps read and write of a request. */
  readonly requests: RequestOpener
  /** @throws AnnalsError `not_found` | `wrong_region` */
  readonly organizationOf: (organizationId: string) => Promise<ErasureOrganization>
}

export function createErasures(deps: {
  readonly client: MongoClient
  readonly db: Db
  readonly systemEvents: SystemEventWriter
  readonly organizations: OrganizationService
  readonly eventOrganizations: EventOrganizations
  readonly retentionPolicies: Pick<PolicyService, 'get'>
  readonly periods: PeriodKeys
}): Erasures {
  const { client, db, systemEvents, organizations, eventOrganizations, retentionPolicies, periods } = deps
  const store = createErasureStore(db)
  const keysetOf = async (organizationId: string) => (await eventOrganizations.require(organizationId)).keyset
  return {
    store,
    progress: createErasureProgress(db),
    recorder: createErasureRecorder({ store, events: systemEvents, client }),
    requests: createErasureRequests({ store, keysetOf, periods }),
    async organizationOf(organizationId) {
      const { version, coolingOffHours } = await organizations.describe(organizationId)
      const { version: retentionVersion } = await retentionPolicies.get(organizationId)
      return { keyset: await keysetOf(organizationId), version, coolingOffHours, retentionVersion }
    },
  }
}
