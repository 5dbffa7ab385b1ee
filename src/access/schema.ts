/** What a client sends to make or rotate a key. Pure. */
import { z } from 'zod'
import { parseTime } from '../events/time.js'
import { organizationIdSchema, plainText } from '../organizations/settings.js'
import { roles, rolesWithPersonalGrant, type Role } from './contract.js'

/** Roles that decide about persons: who holds one must be told apart by the four-eyes rule. */
const officerRoles: readonly Role[] = ['auditor', 'privacy_officer']

const maxOrganizations = 1_000
export const defaultGraceSeconds = 24 * 3_600
const maxGraceSeconds = 7 * 24 * 3_600

export const principalSchema = z
  .string()
  .regex(/^prn_[0-9a-z]{26}$/)
  .meta({ description: 'The person or service behind a key', example: 'prn_7zzzzzzzzzzzzzzzzzzzzzzzzz' })

const futureTime = z.string().transform((text, context) => {
  const time = parseTime(text)
  if (!(time instanceof Date)) {
    context.addIssue({ code: 'custom', message: 'is no RFC 3339 time with a zone', params: { code: time } })
    return z.NEVER
  }
  if (time.getTime() <= Date.now()) {
    context.addIssue({ code: 'custom', message: 'is not in the future', params: { code: 'time_in_past' } })
    return z.NEVER
  }
  return time
})

const maxEventsPerMinute = 100_000_000

/** The body of `POST /v1/keys`. */
export const newAccessKeySchema = z
  .strictObject({
    role: z.enum(roles),
    principal: principalSchema.optional(),
    name: plainText(200),
    organizations: z
      .array(organizationIdSchema)
      .min(1)
      .max(maxOrganizations)
      .transform((ids) => [...new Set(ids)])
      .optional()
      .meta({ description: 'Absent = every organization the maker is bound to.' }),
    personal: z.boolean().optional().meta({ description: 'May see personal values.' }),
    eventsPerMinute: z
      .int()
      .min(1)
      .max(maxEventsPerMinute)
      .optional()
      .meta({ description: 'How many events the key may post in a minute; absent = no limit.' }),
    expiresAt: futureTime.optional().meta({ override: { type: 'string', format: 'date-time' } }),
  })
  .superRefine((key, context) => {
    if (officerRoles.includes(key.role) && key.principal === undefined) {
      context.addIssue({
        code: 'custom',
        path: ['principal'],
        message: 'is needed for an officer: four eyes compares principals',
        params: { code: 'missing' },
      })
    }
    if (key.personal === true && !rolesWithPersonalGrant.includes(key.role)) {
      context.addIssue({
        code: 'custom',
        path: ['personal'],
        message: `is a grant for ${rolesWithPersonalGrant.join(', ')} only`,
        params: { code: 'not_allowed' },
      })
    }
  })

export type NewAccessKey = z.output<typeof newAccessKeySchema>

/** The body of `POST /v1/keys/:id/rotate`; it may be absent. */
export const rotationSchema = z.strictObject({
  graceSeconds: z
    .int()
    .min(0)
    .max(maxGraceSeconds)
    .default(defaultGraceSeconds)
    .meta({ description: 'How long the replaced secret still works.' }),
})
