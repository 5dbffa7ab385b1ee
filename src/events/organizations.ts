/** Joins an organization's settings with its open keys: what the events domain needs of one. */
import type { ClientSession } from 'mongodb'
import { notFound } from '../errors.js'
import type { OrganizationKeys, OrganizationKeyset } from '../keys/organization-keys.js'
import type { Author, OrganizationService } from '../organizations/service.js'
import {
  findOrganization,
  type OrganizationCollection,
  type ProvisionedOrganization,
} from '../organizations/store.js'
import { detectionOf } from './detection.js'
import type { IntakeOrganization } from './intake.js'

export interface EventOrganizations {
  /** For a client's write, without waiting; undefined = ask `ensure`. */
  known(id: string): IntakeOrganization | undefined
  /** For a client's write. @throws AnnalsError `not_found` | `wrong_region` | `forbidden` */
  ensure(id: string, author: Author): Promise<IntakeOrganization>
  /** For a read, and for Annals' own events. @throws AnnalsError `not_found` | `wrong_region` */
  require(id: string): Promise<IntakeOrganization>
}

type OpenableOrganization = Pick<
  ProvisionedOrganization,
  'personTypes' | 'detection' | 'detectionPatterns' | 'key'
>

export function createEventOrganizations(
  service: OrganizationService,
  keys: OrganizationKeys,
): EventOrganizations {
  const open = async (id: string, organization: OpenableOrganization): Promise<IntakeOrganization> => {
    const keyset = await keys.open(id, organization.key)
    return intakeOrganization(organization, keyset)
  }
  return {
    known(id) {
      const organization = service.known(id)
      if (organization === undefined) return undefined
      const keyset = keys.opened(organization.key)
      return keyset === undefined ? undefined : intakeOrganization(organization, keyset)
    },
    ensure: async (id, author) => open(id, await service.ensure(id, author)),
    require: async (id) => open(id, await service.keyed(id)),
  }
}

const intakeOrganization = (
  settings: Omit<OpenableOrganization, 'key'>,
  keyset: OrganizationKeyset,
): IntakeOrganization => ({ personTypes: settings.personTypes, detection: detectionOf(settings), keyset })

/** The organization as a transaction sees it: it may be the one that creates it. @throws AnnalsError `not_found` */
export async function organizationInTransaction(
  organizations: OrganizationCollection,
  keys: OrganizationKeys,
  id: string,
  session: ClientSession,
): Promise<IntakeOrganization> {
  const document = await findOrganization(organizations, id, session)
  if (document?.key === undefined) throw notFound()
  return intakeOrganization(document, await keys.open(id, document.key))
}
