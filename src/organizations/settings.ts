/** What a client may set of an organization, and what becomes of the settings. Pure. */
import { z } from 'zod'
import { patternLimits, patternNamePattern, patternProblem } from '../events/detectors/patterns.js'
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

const detectionPatternSchema = z
  .strictObject({
    name: z.string().regex(patternNamePattern),
    pattern: plainText(patternLimits.maxLength).meta({
      description: 'A regular expression in RE2 syntax: no look-around, no back-references.',
      example: '\\bEMP-\\d{6}\\b',
    }),
  })
  .superRefine((pattern, context) => {
    if (pattern.pattern.length > patternLimits.maxLength) return
    const problem = patternProblem(pattern)
    if (problem !== undefined)
      context.addIssue({
        code: 'custom',
        path: ['pattern'],
        message: problem,
        params: { code: 'malformed_value' },
      })
  })
  .meta({ id: 'DetectionPattern' })

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
  detectionPatterns: z
    .array(detectionPatternSchema)
    .max(patternLimits.maxPatterns)
    .refine((patterns) => new Set(patterns.map(({ name }) => name)).size === patterns.length, {
      message: 'names a pattern twice',
      params: { code: 'conflict' },
    })
    .optional()
    .meta({ description: 'What counts as personal beside e-mails, phones, cards, IBANs and IPs.' }),
  coolingOffHours: z.int().min(0).max(maxCoolingOffHours).optional(),
})

export type OrganizationChange = z.infer<typeof organizationChangeSchema>

/** The settings of a new organization. */
export const initialSettings = (change: OrganizationChange, region: string): OrganizationSettings => ({
  name: change.name ?? null,
  region: change.region ?? region,
  personTypes: change.personTypes ?? defaultPersonTypes,
  detection: change.detection ?? 'flag',
  detectionPatterns: change.detectionPatterns ?? [],
  coolingOffHours: change.coolingOffHours ?? defaultCoolingOffHours,
})

const changeable = ['name', 'personTypes', 'detection', 'detectionPatterns', 'coolingOffHours'] as const
export type SettingName = (typeof changeable)[number]

const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b)

/** Which settings a change would change; an event names them, never their values. */
export const changedSettings = (current: OrganizationSettings, change: OrganizationChange): SettingName[] =>
  changeable.filter((name) => change[name] !== undefined && !same(change[name], current[name]))
