/** The wire form of retention: what clients send and get, checked once, at the edge; also the source of `/openapi.json`. */
import { z } from 'zod'
import { limits } from '../events/limits.js'
import { typePattern } from '../events/schema.js'
import { parseTime } from '../events/time.js'
import { pageQuery, pageSchema } from '../http/list.js'
import { idPattern } from '../ids.js'
import { organizationIdSchema, plainText } from '../organizations/settings.js'
import { runKinds, runReasons, runStates, runSteps } from './contract.js'
import { holdLimits } from './holds.js'
import { maxRetentionDays } from './policy.js'

export const maxRetentionBodyBytes = 16_384

const days = z.int().min(0).max(maxRetentionDays)

const dayFields = {
  hotDays: days.meta({
    description: 'Days in the hot store, from when an event was sealed. 0 = archived as soon as sealed.',
    example: 183,
  }),
  archiveDays: days
    .nullable()
    .meta({ description: 'Days until content goes; null = never. Not less than hotDays.', example: 2_555 }),
  recordDays: days
    .nullable()
    .meta({ description: 'Days until records go; null = never. Not less than archiveDays.', example: null }),
}

export const retentionBodySchema = z
  .strictObject({
    ...dayFields,
    ifVersion: z
      .int()
      .min(0)
      .optional()
      .meta({ description: 'Refused with 409 where the policy is at another version.' }),
  })
  .meta({ id: 'RetentionChange' })

export const previewBodySchema = z.strictObject(dayFields).meta({ id: 'RetentionCandidate' })

const time = z.iso.datetime()
const principal = z.string().meta({ example: 'prn_01h455vb4pex5vsknk084sn02q' })

const versionShape = {
  organizationId: organizationIdSchema,
  ...dayFields,
  version: z.int().meta({ description: '0 = the default, which nobody has set.' }),
  since: time.nullable(),
  author: principal.nullable(),
}

export const policyVersionSchema = z.object(versionShape).meta({ id: 'RetentionVersion' })

export const retentionViewSchema = z
  .object({
    ...versionShape,
    expiry: z
      .object({
        archiveDays: dayFields.archiveDays,
        recordDays: dayFields.recordDays,
        until: time.nullable(),
      })
      .meta({
        description:
          'What deletion goes by now: the longest of the policies of the last seven days. `until` is when that ends and the policy alone counts; null where it does already.',
      }),
  })
  .meta({ id: 'Retention' })

export const organizationPathSchema = z.object({ org: z.string().meta({ example: 'org_acme' }) })
export const holdPathSchema = organizationPathSchema.extend({
  id: z.string().regex(idPattern('hold')).meta({ example: 'hold_01kaxa2v8ve5cv9sc8ff5fs8ac' }),
})

export const versionsQuerySchema = z.strictObject(pageQuery)
export const versionListSchema = pageSchema(policyVersionSchema)

/** An RFC 3339 time, a `Date` once parsed. */
const moment = z
  .string()
  .max(64)
  .transform((text, context) => {
    const parsed = parseTime(text)
    if (typeof parsed !== 'string') return parsed
    context.addIssue({
      code: 'custom',
      message: 'must be an RFC 3339 time with a zone',
      params: { code: parsed },
    })
    return z.NEVER
  })
  .meta({ type: 'string', format: 'date-time' })

const identifierSchema = z
  .discriminatedUnion('kind', [
    z.strictObject({
      kind: z.literal('id'),
      type: z.string().regex(typePattern).meta({ example: 'user' }),
      value: plainText(limits.maxPartyIdLength),
    }),
    z.strictObject({ kind: z.literal('email'), value: plainText(limits.maxEmailLength) }),
  ])
  .meta({
    description: 'Names the person. Looked up now and not kept: the hold keeps the references it led to.',
  })

const scopeFields = {
  action: z
    .string()
    .regex(/^[A-Za-z0-9_.:-]{1,128}(\.\*)?$/)
    .optional()
    .meta({ description: 'Exact, or a prefix such as `team.*`.' }),
  from: moment.optional().meta({ description: 'By occurredAt, inclusive.' }),
  to: moment.optional().meta({ description: 'By occurredAt, exclusive.' }),
}

export const holdBodySchema = z
  .strictObject({
    scope: z
      .strictObject({
        subject: z.string().regex(idPattern('sub')).optional().meta({ description: 'A subject reference.' }),
        identifier: identifierSchema.optional(),
        ...scopeFields,
      })
      .superRefine(({ subject, identifier, from, to }, context) => {
        const conflict = (path: string, message: string) => {
          context.addIssue({ code: 'custom', path: [path], message, params: { code: 'conflict' } })
        }
        if (subject !== undefined && identifier !== undefined)
          conflict('identifier', 'names the person a second time, beside subject')
        if (from !== undefined && to !== undefined && from >= to) conflict('to', 'lies at or before from')
      })
      .meta({ description: 'What is held: where all that is said fits. `{}` holds the whole organization.' }),
    reason: plainText(holdLimits.maxReasonLength).meta({
      description: 'In your own words; kept with the hold, and in no event.',
      example: 'Litigation 2026-114',
    }),
  })
  .meta({ id: 'HoldPlacement' })

export const listHoldsSchema = z.strictObject({
  ...pageQuery,
  state: z.enum(['active', 'released']).optional(),
})
export const holdPositionSchema = z.object({ placedAt: time, id: z.string() })

export const holdViewSchema = z
  .object({
    id: z.string(),
    organizationId: organizationIdSchema,
    scope: z.object({
      subjects: z.array(z.string()).optional(),
      action: z.string().optional(),
      from: time.optional(),
      to: time.optional(),
    }),
    reason: z.string(),
    author: principal,
    placedAt: time,
    releasedAt: time.nullable(),
    releasedBy: principal.nullable(),
  })
  .meta({ id: 'Hold' })
export const holdListSchema = pageSchema(holdViewSchema)

export const listRunsSchema = z.strictObject({
  ...pageQuery,
  kind: z.enum(runKinds).optional(),
  state: z.enum(runStates).optional(),
})
export const runPositionSchema = z.object({ startedAt: time, runId: z.string() })

const amount = z.object({ leaves: z.int(), bytes: z.int() })
const ranges = z.array(z.object({ generation: z.int(), from: z.int(), to: z.int() }))
const nextDate = time.nullable()

export const previewSchema = z
  .object({
    organizationId: organizationIdSchema,
    now: time.meta({ description: 'The time that retention goes by.' }),
    clock: z.enum(['steady', 'leapt']).meta({
      description: '`leapt`: the clocks are far ahead of what was seen last, and are not believed yet.',
    }),
    days: z.object(dayFields),
    version: z.int().nullable().meta({ description: 'null: a candidate.' }),
    hotBytesEach: z.int().meta({ description: 'Mean size of hot events, from a sample of the oldest.' }),
    dates: z
      .array(
        z.object({
          at: time,
          expiry: z.object({ archiveDays: dayFields.archiveDays, recordDays: dayFields.recordDays }),
          archive: amount,
          content: amount,
          records: amount,
        }),
      )
      .meta({
        description:
          'What is due by then, of what is there now. Bytes of hot events are estimated, those in the archive exact; what is held or never expires is not taken off.',
      }),
    ranges: z.object({ archive: ranges, content: ranges, records: ranges }).meta({ description: 'Due now.' }),
    next: z.object({ archive: nextDate, content: nextDate, records: nextDate }),
    held: z
      .array(
        z.object({
          holdId: z.string(),
          hotEvents: z.int().nullable().meta({ description: 'null: not counted; 10,000: or more.' }),
          dueLeavesAtMost: z.int(),
        }),
      )
      .nullable()
      .meta({ description: 'By hold in force. null: the key may not see holds.' }),
    partial: z.boolean().meta({ description: 'Something was beyond a bound, and is not in the figures.' }),
  })
  .meta({ id: 'RetentionPreview' })

const count = z.int().optional()

export const runViewSchema = z
  .object({
    id: z.string(),
    organizationId: organizationIdSchema,
    kind: z.enum(runKinds),
    generation: z
      .int()
      .nullable()
      .meta({ description: 'null for a restore, which is of a stretch of time.' }),
    from: z.int().nullable().meta({ description: 'First leaf.' }),
    to: z.int().nullable().meta({ description: 'The leaf after the last.' }),
    state: z.enum(runStates),
    step: z.enum(runSteps),
    progress: z
      .object({ done: z.int(), total: z.int().nullable(), bytes: z.int().nullable() })
      .nullable()
      .meta({
        description: 'How far the step is, in leaves, and the bytes that it has read; every few seconds.',
      }),
    counts: z.object({
      leaves: count,
      events: count,
      damaged: count,
      deleted: count,
      held: count,
      kept: count,
      locked: count,
    }),
    bytes: z.object({ hot: count, archived: count, verified: count }).meta({
      description:
        'Of the events as they lie in the database, of the objects in the archive, and of those that were read back and found right before anything was deleted.',
    }),
    reason: z.enum(runReasons).nullable().meta({ description: 'Why it needs an operator.' }),
    workflowId: z.string(),
    startedAt: time,
    updatedAt: time,
    finishedAt: time.nullable(),
  })
  .meta({ id: 'RetentionRun' })
export const runListSchema = pageSchema(runViewSchema)
export const runPathSchema = organizationPathSchema.extend({
  id: z.string().regex(idPattern('run')).meta({ example: 'run_01h455vb4pex5vsknk084sn02q' }),
})
export const retryStartedSchema = z
  .object({ workflowId: z.string(), state: z.enum(runStates), step: z.enum(runSteps) })
  .meta({ id: 'RetentionRetry' })

export const sweepStartedSchema = z.object({ workflowId: z.string() }).meta({ id: 'RetentionSweep' })
