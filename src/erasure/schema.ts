/** The wire form of erasure requests, checked once, at the edge; also the source of `/openapi.json`. */
import { z } from 'zod'
import { urlProblem, maxUrlLength, type AddressRules } from '../delivery/address.js'
import { deliveryFailures, deliveryStatuses } from '../delivery/contract.js'
import type { FieldError } from '../errors.js'
import { clientCategories } from '../events/contract.js'
import { parseTime } from '../events/time.js'
import { pageQuery, pageSchema } from '../http/list.js'
import { plainText } from '../organizations/settings.js'
import { looksLikeEmail } from '../subjects/policy.js'
import {
  erasureGrounds,
  erasureIdPattern,
  erasureStates,
  exemptionGrounds,
  jointFreeTextChoices,
  operatorReasons,
  retirementOutcomes,
  targetNamePattern,
  targetStatuses,
  type Recipient,
} from './contract.js'
import { deadlineLimits, type Receipt } from './deadlines.js'

/** Limits of a request; docs/erasure.md repeats them. */
export const erasureLimits = {
  maxBodyBytes: 65_536,
  maxIdentifiers: 20,
  maxIdentifierLength: 512,
  maxRecipients: 50,
  maxExemptions: 50,
  maxNameLength: 200,
  maxWordsLength: 4_000,
} as const

/** What is wrong with a time, in code and words; undefined where it may stand. */
function receivedAtProblem(moment: ReturnType<typeof parseTime>): readonly [string, string] | undefined {
  if (typeof moment === 'string') return [moment, 'must be an RFC 3339 time with a zone']
  const ageMs = Date.now() - moment.getTime()
  if (ageMs < -deadlineLimits.maxFutureMs) return ['time_in_future', 'lies in the future']
  if (ageMs > deadlineLimits.maxAgeMs) return ['time_in_past', 'is more than two years ago']
  return undefined
}

const identifierValue = plainText(erasureLimits.maxIdentifierLength).refine((text) => text.trim() !== '', {
  message: 'is blank',
  params: { code: 'malformed_value' },
})

const identifierSchema = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('id'),
    type: z
      .string()
      .regex(/^[A-Za-z0-9_.:/ -]{1,64}$/)
      .meta({ description: 'The type that events name the person by; compared without case.' }),
    value: identifierValue,
  }),
  z.strictObject({
    kind: z.literal('email'),
    value: identifierValue.refine(looksLikeEmail, {
      message: 'is no e-mail address',
      params: { code: 'malformed_value' },
    }),
  }),
  z.strictObject({ kind: z.enum(['phone', 'other']), value: identifierValue }),
])

/** The moment and the calendar of whoever wrote it. */
export const receivedAtSchema = z
  .string()
  .max(64)
  .transform((text, context) => {
    const moment = parseTime(text)
    const problem = receivedAtProblem(moment)
    if (problem !== undefined || typeof moment === 'string') {
      const [code, message] = problem ?? []
      context.addIssue({ code: 'custom', message, params: { code } })
      return z.NEVER
    }
    const [, sign, hours, minutes] = /([+-])(\d\d):(\d\d)$/.exec(text) ?? []
    const offset = Number(hours ?? 0) * 60 + Number(minutes ?? 0)
    const receipt: Receipt = { atMs: moment.getTime(), offsetMinutes: sign === '-' ? -offset : offset }
    return receipt
  })
  .meta({
    type: 'string',
    format: 'date-time',
    description: 'When the person asked. Its zone says in which calendar the month of Art. 12(3) is counted.',
  })

const recipientSchema = z.strictObject({
  name: plainText(erasureLimits.maxNameLength),
  url: z
    .string()
    .max(maxUrlLength)
    .superRefine((text, context) => {
      // Whether a private address may be called is a setting: routes.ts asks.
      const code = urlProblem(text, { allowPrivate: true })
      if (code !== undefined)
        context.addIssue({ code: 'custom', message: urlProblems[code], params: { code } })
    })
    .meta({
      description: 'https, without credentials; called by a signed webhook once the person is erased.',
    }),
})

/** What is wrong with the addresses of recipients by the settings of this deployment, place by place. */
export function recipientErrors(recipients: readonly Recipient[], rules: AddressRules): FieldError[] {
  return recipients.flatMap(({ url }, position): FieldError[] => {
    const code = urlProblem(url, rules)
    return code === undefined
      ? []
      : [{ path: `recipients[${String(position)}].url`, code, message: urlProblems[code] }]
  })
}

const urlProblems = {
  malformed_value: 'must be an https address',
  not_allowed: 'is an address that is not called: not https, with credentials, or private',
} as const

const words = plainText(erasureLimits.maxWordsLength)

export const submitErasureSchema = z
  .strictObject({
    identifiers: z.array(identifierSchema).min(1).max(erasureLimits.maxIdentifiers),
    ground: z.enum(erasureGrounds).meta({ description: 'GDPR Art. 17(1)' }),
    requester: plainText(erasureLimits.maxNameLength),
    channel: plainText(erasureLimits.maxNameLength).meta({ example: 'support-ticket' }),
    receivedAt: receivedAtSchema,
    jointFreeText: z
      .enum(jointFreeTextChoices)
      .optional()
      .meta({ description: 'Clear text that names others too. Default review.' }),
    recipients: z
      .array(recipientSchema)
      .max(erasureLimits.maxRecipients)
      .refine((list) => new Set(list.map(({ url }) => url)).size === list.length, {
        message: 'names an address twice',
        params: { code: 'conflict' },
      })
      .optional(),
  })
  .meta({ id: 'ErasureSubmission' })

export const verifyIdentitySchema = z
  .strictObject({ method: words, result: z.enum(['verified', 'failed']), note: words.optional() })
  .meta({ id: 'ErasureIdentity' })

/** A category, an action, or all actions of a family. */
const recordClassPattern = /^(?:[A-Za-z0-9_.:-]{1,126}\.\*|[A-Za-z0-9_.:-]{1,128})$/

export const approveSchema = z
  .strictObject({
    note: words.optional(),
    exempt: z
      .array(
        z.strictObject({
          class: z
            .string()
            .regex(recordClassPattern)
            .meta({
              description: `A category (${clientCategories.join(', ')}) or an action, exact or as team.*`,
              example: 'billing.*',
            }),
          ground: z.enum(exemptionGrounds).meta({ description: 'GDPR Art. 17(3)' }),
        }),
      )
      .max(erasureLimits.maxExemptions)
      .refine((list) => new Set(list.map((one) => one.class)).size === list.length, {
        message: 'names a class twice',
        params: { code: 'conflict' },
      })
      .optional(),
    confirm: z
      .array(
        z
          .int()
          .min(0)
          .max(erasureLimits.maxIdentifiers - 1),
      )
      .max(erasureLimits.maxIdentifiers)
      .optional()
      .meta({ description: 'Positions of identifiers whose hits in clear text are to go too.' }),
  })
  .meta({ id: 'ErasureApproval' })

export const denySchema = z
  .strictObject({ ground: z.enum(exemptionGrounds).meta({ description: 'GDPR Art. 17(3)' }), note: words })
  .meta({ id: 'ErasureDenial' })

export const extendSchema = z.strictObject({ reason: words }).meta({ id: 'ErasureExtension' })

export const withdrawSchema = z.strictObject({ note: words.optional() }).meta({ id: 'ErasureWithdrawal' })

export const attestSchema = z
  .strictObject({
    target: z.string().regex(targetNamePattern),
    statement: words.meta({
      description: 'With an outcome: why. It is kept, and shown in the certificate, and must name nobody.',
    }),
    outcome: z.enum(retirementOutcomes).optional().meta({
      description:
        'Retires a target that the request has stopped for: it was removed, or cannot be reached. Never by who submitted it.',
    }),
  })
  .meta({ id: 'ErasureAttestation' })

export const retrySchema = z.strictObject({}).meta({ id: 'ErasureRetry' })

export const listErasuresSchema = z.strictObject({ ...pageQuery, state: z.enum(erasureStates).optional() })

export const showErasureSchema = z.strictObject({
  personal: z
    .enum(['true', 'false'])
    .optional()
    .meta({ description: 'true: with identifiers and notes. Takes the personal grant, and is logged.' }),
})

export const erasurePathSchema = z.object({
  org: z.string().meta({ example: 'org_acme' }),
  id: z.string().regex(erasureIdPattern).meta({ example: 'erasure_01kaxa2v8ve5cv9sc8ff5fs8ac' }),
})

export const erasurePositionSchema = z.object({ submittedAt: z.iso.datetime(), requestId: z.string() })

const time = z.iso.datetime()
const exemption = z.object({ class: z.string(), ground: z.enum(exemptionGrounds) })

export const erasureViewSchema = z
  .object({
    id: z.string(),
    organizationId: z.string(),
    state: z.enum(erasureStates),
    workflowId: z.string(),
    submittedAt: time,
    submitter: z.string(),
    receivedAt: time,
    dueAt: time,
    overdue: z.boolean(),
    extended: z.boolean(),
    ground: z.enum(erasureGrounds),
    jointFreeText: z.enum(jointFreeTextChoices),
    identifierKinds: z.array(z.string()),
    recipientCount: z.int(),
    policyVersion: z.int(),
    retentionVersion: z.int(),
    approver: z.string().nullable(),
    exempt: z.array(exemption),
    denialGround: z.enum(exemptionGrounds).nullable(),
    coolingOffEndsAt: time.nullable(),
    recheckAt: time.nullable(),
    expiryAt: time.nullable(),
    needsOperator: z
      .object({
        reason: z.enum(operatorReasons),
        targets: z.array(z.string()),
        resumesAt: z.enum(erasureStates).nullable(),
      })
      .nullable(),
    duplicateOf: z.string().nullable(),
    endedAt: time.nullable(),
  })
  .meta({ id: 'Erasure' })

export const erasureDetailSchema = erasureViewSchema
  .extend({
    duplicates: z.array(z.string()),
    scope: z
      .object({
        scopedAt: time,
        subjects: z.array(z.string()),
        ambiguousIdentifiers: z.array(z.int()),
        certainSubjects: z.int(),
        targets: z.array(
          z.object({
            target: z.string(),
            status: z.enum(targetStatuses),
            items: z.int(),
            held: z.int(),
          }),
        ),
        freeText: z.array(
          z.object({
            identifier: z.int(),
            kind: z.string(),
            hits: z.int(),
            joint: z.int(),
            needsConfirmation: z.boolean(),
          }),
        ),
        earliest: time.nullable(),
        latest: time.nullable(),
      })
      .nullable(),
    recipients: z
      .array(
        z.object({
          position: z.int(),
          status: z.enum(deliveryStatuses),
          attempts: z.int(),
          lastAttemptAt: time.nullable(),
          nextAttemptAt: time.nullable(),
          endedAt: time.nullable(),
          lastStatus: z.int().nullable(),
          lastFailure: z.enum(deliveryFailures).nullable(),
        }),
      )
      .meta({
        description: 'What became of telling each recipient (Art. 19), by its position in the request.',
      }),
    attestations: z.array(
      z.object({
        target: z.string(),
        principal: z.string(),
        at: time,
        outcome: z.enum(retirementOutcomes).optional(),
        reason: z.string().optional().meta({ description: 'Why the target was retired.' }),
      }),
    ),
    evidence: z.array(
      z.object({
        event: z.string(),
        at: time,
        by: z.string().nullable(),
        state: z.enum(erasureStates),
        ground: z.string().optional(),
        exempt: z.array(exemption).optional(),
        reason: z.enum(operatorReasons).optional(),
        targets: z.array(z.string()).optional(),
        dueAt: time.optional(),
      }),
    ),
    personal: z
      .object({
        identifiers: z.array(z.object({ kind: z.string(), type: z.string().optional(), value: z.string() })),
        requester: z.string(),
        channel: z.string(),
        recipients: z.array(z.object({ name: z.string(), url: z.string() })),
        words: z.array(
          z.object({
            action: z.string(),
            at: time,
            by: z.string(),
            words: z.record(z.string(), z.string()),
          }),
        ),
      })
      .nullable()
      .meta({
        description: 'Only with ?personal=true, and gone once the person is, or the request has ended.',
      }),
  })
  .meta({ id: 'ErasureDetail' })

export const erasureListSchema = pageSchema(erasureViewSchema).meta({ id: 'ErasureList' })
