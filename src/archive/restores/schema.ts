/** The wire form of restores and segments: checked once, at the edge; also the source of `/openapi.json`. */
import { z } from 'zod'
import { parseTime } from '../../events/time.js'
import { pageQuery, pageSchema } from '../../http/list.js'
import { organizationIdSchema, plainText } from '../../organizations/settings.js'
import { restoreFailures, restoreLimits, restoreStates } from './contract.js'

const time = z.string().meta({ format: 'date-time' })

const moment = z
  .string()
  .max(64)
  .transform((text, context) => {
    const parsed = parseTime(text)
    if (parsed instanceof Date) return parsed
    const message = 'must be an RFC 3339 time with a zone'
    context.addIssue({ code: 'custom', message, params: { code: parsed } })
    return z.NEVER
  })
  .meta({ type: 'string', format: 'date-time' })

export const restoreBodySchema = z
  .strictObject({
    from: moment,
    to: moment,
    days: z.int().min(1).max(restoreLimits.maxDays).meta({ description: 'How long it stays.' }),
    reason: plainText(restoreLimits.maxReasonCharacters),
  })
  .refine(({ from, to }) => from < to, {
    path: ['to'],
    message: 'must lie after the beginning',
    params: { code: 'too_small' },
  })

export const listRestoresSchema = z.strictObject({ ...pageQuery })

export const restorePositionSchema = z.strictObject({ requestedAt: z.iso.datetime(), restoreId: z.string() })

export const archivePathSchema = z.object({ org: organizationIdSchema })
export const restorePathSchema = z.object({ org: organizationIdSchema, id: z.string() })

export const restoreViewSchema = z
  .object({
    id: z.string(),
    organizationId: z.string(),
    state: z.enum(restoreStates),
    from: time,
    to: time,
    days: z.int(),
    reason: z.string(),
    principal: z.string(),
    requestedAt: time,
    restoredAt: time.nullable(),
    expiresAt: time.nullable(),
    endedAt: time.nullable(),
    failure: z.enum(restoreFailures).nullable(),
    counts: z.object({ leaves: z.int(), leavesToRead: z.int(), events: z.int(), bytes: z.int() }).meta({
      description:
        'Leaves that were looked at so far, of those there were to read when it was asked for; events that are there once it is restored; bytes of those that were copied.',
    }),
    workflowId: z.string(),
  })
  .meta({ id: 'Restore' })
export type RestoreView = z.infer<typeof restoreViewSchema>
export const restoreListSchema = pageSchema(restoreViewSchema).meta({ id: 'RestorePage' })
