/** What a call about a request brings along, and what a request needs of its organization. */
import type { OrganizationKeyset } from '../keys/organization-keys.js'

/** Who asks, for which organization, under which idempotency key if any. */
export interface ErasureCall {
  readonly organizationId: string
  /** `prn_…` */
  readonly principal: string
  readonly idempotencyKey?: string | undefined
}

/** What a request needs of its organization. */
export interface ErasureOrganization {
  readonly keyset: OrganizationKeyset
  readonly version: number
  readonly coolingOffHours: number
  /** Of its retention policy; 0 = the default. */
  readonly retentionVersion: number
}
