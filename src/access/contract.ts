/**
 * Who may do what: roles, permissions and the caller of a request. Pure.
 *
 * The table is INTERFACE.md's "Roles". A permission always applies to the organizations a key is bound to, and
 * to no other; the answer for another organization is the answer for one that does not exist.
 */
export const roles = ['owner', 'ingest', 'auditor', 'privacy_officer', 'operator'] as const
export type Role = (typeof roles)[number]

const permissionTable = {
  'events.write': ['owner', 'ingest'],
  'events.read': ['owner', 'auditor', 'privacy_officer'],
  administer: ['owner'],
  'retention.run': ['owner', 'operator'],
  holds: ['owner', 'privacy_officer'],
  exports: ['owner', 'auditor', 'privacy_officer'],
  'erasure.submit': ['owner', 'privacy_officer'],
  'erasure.decide': ['privacy_officer'],
  'offboarding.read': ['owner', 'operator'],
  operate: ['operator'],
} as const satisfies Record<string, readonly Role[]>

export type Permission = keyof typeof permissionTable

/** Roles whose keys may carry the `personal` grant. */
export const rolesWithPersonalGrant: readonly Role[] = ['owner', 'auditor', 'privacy_officer']

/** Who sent a request, as far as its key tells. */
export interface Caller {
  readonly keyId: string
  readonly role: Role
  /** `prn_…`: the person or service behind the key; four eyes compares these, not keys. */
  readonly principal: string
  readonly organizations: 'all' | ReadonlySet<string>
  /** May see personal values. */
  readonly personal: boolean
  /** How many events the key may post in a minute; null = as many as fit. */
  readonly eventsPerMinute: number | null
}

/** Does the caller's role hold the permission (whatever the organization)? */
export function roleMay(caller: Caller, permission: Permission): boolean {
  const allowed: readonly Role[] = permissionTable[permission]
  return allowed.includes(caller.role)
}

/** Is the caller's key bound to the organization? */
export function boundTo(caller: Caller, organizationId: string): boolean {
  return caller.organizations === 'all' || caller.organizations.has(organizationId)
}

/** Resolves the `Authorization` header of a request. Implemented by `access/authenticator.ts`. */
export interface Authenticator {
  /** @throws AnnalsError `unauthenticated` (its `errors[0].code` says why) | `unavailable` */
  authenticate(authorization: string | undefined): Promise<Caller>
}
