/** What a client may set of an organization, and what becomes of the settings. Pure. */
import { z } from 'zod'
import {
  defaultCoolingOffHours,
  defaultPersonTypes,
  organizationIdPattern,
  type OrganizationSettings,
} from './contract.js'

const maxNameCharacters = 200
const maxPersonTypes = 50
const maxCoolingOffHours = 720

/** Text that MongoDB and every reader keep as it is: no lone surrogate, no NUL. */
export const plainText = (maxCharacters: number) =>
  z
    .string()
    .min(1)
    .max(maxCharacters)
    .refine((text) => !/\p{Surrogate}/u.test(text), {
      message: 'holds half of a surrogate pair',
      params: { code: 'lone_surrogate' },
    })
    .refine((text) => !text.includes('\0'), {
      message: 'holds a NUL character',
      params: { code: 'nul_character' },
    })

export const organizationIdSchema = z
  .string()
  .regex(organizationIdPattern)
  .meta({ description: "The vendor's own id of an organization", example: 'org_acme' })

/** The body of `PUT /v1/organizations/:org`. What is absent stays as it is. */
export const organizationChangeSchema = z.strictObject({
  name: plainText(maxNameCharacters).nullable().optional(),
  region: z
    .string()
    .regex(/^[a-z0-9-]{1,32}$/)
    .optional()
    .meta({
      description: 'Fixed for life. Another region than this one registers the organization as foreign.',
    }),
  personTypes: z
    .array(z.string().regex(/^[A-Za-z0-9_.:/ -]{1,64}$/))
    .max(maxPersonTypes)
    .transform((types) => [...new Set(types.map((type) => type.toLowerCase()))])
    .optional()
    .meta({ description: 'Types of targets that are persons; compared without case.' }),
  detection: z
    .enum(['flag', 'redact', 'reject'])
    .optional()
    .meta({ description: 'What happens to free text in which personal data is detected.' }),
  coolingOffHours: z.int().min(0).max(maxCoolingOffHours).optional(),
})

export type OrganizationChange = z.infer<typeof organizationChangeSchema>

/** The settings of a new organization. */
export const initialSettings = (change: OrganizationChange, region: string): OrganizationSettings => ({
  name: change.name ?? null,
  region: change.region ?? region,
  personTypes: change.personTypes ?? defaultPersonTypes,
  detection: change.detection ?? 'flag',
  coolingOffHours: change.coolingOffHours ?? defaultCoolingOffHours,
})

const changeable = ['name', 'personTypes', 'detection', 'coolingOffHours'] as const
export type SettingName = (typeof changeable)[number]

const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b)

/** Which settings a change would change; an event names them, never their values. */
export const changedSettings = (current: OrganizationSettings, change: OrganizationChange): SettingName[] =>
  changeable.filter((name) => change[name] !== undefined && !same(change[name], current[name]))
