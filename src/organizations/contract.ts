/** What an organization is: its settings, its region, its name. Pure. */
import type { DetectionPattern } from '../events/detectors/patterns.js'

export const organizationIdPattern = /^[A-Za-z0-9_-]{1,64}$/

/** The reserved organization that holds events of the deployment itself (keys, regions). Clients never write to it. */
export const systemOrganizationId = '_annals'

export type DetectionPolicy = 'flag' | 'redact' | 'reject'

export interface OrganizationSettings {
  readonly name: string | null
  /** Fixed for life: an organization never changes its region. */
  readonly region: string
  /** Target types (lower case) whose targets are persons. */
  readonly personTypes: readonly string[]
  readonly detection: DetectionPolicy
  /** What the organization counts as personal beside the built-in kinds. */
  readonly detectionPatterns: readonly DetectionPattern[]
  readonly coolingOffHours: number
}

export const defaultPersonTypes: readonly string[] = [
  'user',
  'person',
  'member',
  'appuser',
  'account_user',
  'contact',
  'employee',
]

export const defaultCoolingOffHours = 24

/** An organization as the services use it. `version` grows by one with each change of the settings. */
export interface Organization extends OrganizationSettings {
  readonly id: string
  readonly version: number
  readonly createdAt: Date
}
