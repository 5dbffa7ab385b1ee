/** The wire form of redactions: checked once, at the edge; also the source of `/openapi.json`. */
import { z } from 'zod'
import { limits } from '../events/limits.js'
import { pageQuery, pageSchema } from '../http/list.js'
import { idPattern } from '../ids.js'
import { organizationIdSchema, plainText } from '../organizations/settings.js'
import { redactableSlot, redactionFailures, redactionLimits, redactionStates } from './contract.js'

const time = z.string().meta({ format: 'date-time' })
const maxPathLength = 'metadata.'.length + limits.maxKeyLength

const namedField = z
  .strictObject({
    eventId: z.string().regex(idPattern('evt')),
    slot: z.string().regex(redactableSlot).optional().meta({
      description: 'As in the verifiable form: `actor`, `target/0`, `context`, `description`, `metadata/0`.',
    }),
    path: z.string().min(1).max(maxPathLength).optional().meta({
      description: 'Where readers see it: `actor`, `targets[0]`, `context`, `description`, `metadata.<key>`.',
    }),
  })
  .refine(({ slot, path }) => (slot === undefined) !== (path === undefined), {
    message: 'takes one of slot and path',
    params: { code: 'conflict' },
  })
  .transform(({ eventId, slot, path }) =>
    slot === undefined ? { eventId, path: path ?? '' } : { eventId, slot },
  )

export const redactionBodySchema = z.strictObject({
  fields: z.array(namedField).min(1).max(redactionLimits.maxFields),
  reason: plainText(redactionLimits.maxReasonCharacters).meta({
    description: 'Why; never the value itself, for this is kept.',
  }),
})
export const approveRedactionSchema = z.strictObject({})
export const listRedactionsSchema = z.strictObject({
  ...pageQuery,
  state: z.enum(redactionStates).optional(),
})
export const redactionPositionSchema = z.strictObject({
  requestedAt: z.iso.datetime(),
  redactionId: z.string(),
})
export const redactionOrganizationSchema = z.object({ org: organizationIdSchema })
export const redactionPathSchema = z.object({ org: organizationIdSchema, id: z.string() })

export const redactionViewSchema = z
  .object({
    id: z.string(),
    organizationId: z.string(),
    state: z.enum(redactionStates),
    fields: z.array(z.object({ eventId: z.string(), slot: z.string() })),
    reason: z.string(),
    submitter: z.string(),
    requestedAt: time,
    lapsesAt: time.meta({ description: 'From then on it can be approved no more.' }),
    approver: z.string().nullable(),
    approvedAt: time.nullable(),
    failure: z.enum(redactionFailures).nullable(),
    manifest: z.string().nullable().meta({ description: 'SHA-256 of what is removed, in hex.' }),
    eventId: z.string().nullable().meta({ description: 'The event `annals.field.redacted`.' }),
    endedAt: time.nullable(),
    workflowId: z.string().nullable(),
  })
  .meta({ id: 'Redaction' })
export type RedactionView = z.infer<typeof redactionViewSchema>
export const redactionListSchema = pageSchema(redactionViewSchema).meta({ id: 'RedactionPage' })
