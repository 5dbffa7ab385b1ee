/** The wire form of offboardings: checked once, at the edge; also the source of `/openapi.json`. */
import { z } from 'zod'
import { organizationIdSchema, plainText } from '../organizations/settings.js'
import { offboardingLimits, offboardingReasons, offboardingStates, offboardingSteps } from './contract.js'

const time = z.string().meta({ format: 'date-time' })

export const offboardingBodySchema = z.strictObject({
  confirm: organizationIdSchema.meta({
    description: 'The id of the organization once more: this cannot be undone.',
  }),
  reason: plainText(offboardingLimits.maxReasonCharacters),
})
export const emptySchema = z.strictObject({})
export const offboardingOrganizationSchema = z.object({ org: organizationIdSchema })
export const offboardingPathSchema = z.object({ org: organizationIdSchema, id: z.string() })

const stepSchema = z.object({
  step: z.enum(offboardingSteps),
  intendedAt: time.nullable(),
  doneAt: time.nullable(),
})

export const offboardingViewSchema = z
  .object({
    id: z.string(),
    organizationId: z.string(),
    state: z.enum(offboardingStates),
    reason: z.string(),
    submitter: z.string(),
    requestedAt: time,
    approver: z.string().nullable(),
    approvedAt: time.nullable(),
    coolingOffEndsAt: time.nullable(),
    withdrawnBy: z.string().nullable(),
    closedAt: time
      .nullable()
      .meta({ description: 'From then on the organization takes nothing: there is no way back.' }),
    steps: z.array(stepSchema).meta({ description: 'The checklist, in order.' }),
    operator: z
      .object({ reason: z.enum(offboardingReasons), step: z.enum(offboardingSteps), at: time })
      .nullable()
      .meta({ description: 'What it stands still for, until an operator retries.' }),
    final: z
      .object({
        generation: z.int(),
        size: z.int(),
        root: z.string(),
        checkpointSha256: z.string(),
        checkpoint: z.string().optional().meta({ description: 'The signed note.' }),
      })
      .nullable()
      .meta({ description: 'The log of the organization as it ended.' }),
    removed: z.record(z.string(), z.int()).nullable().meta({ description: 'Rows that went, by collection.' }),
    remains: z.object({
      lockedObjects: z
        .int()
        .meta({ description: 'Objects of the archive under lock: they go when it ends.' }),
      keyPeriods: z.array(z.int()).meta({
        description: 'Until the keys of these periods are deleted, old backups may still be opened.',
      }),
    }),
    eventId: z.string().nullable().meta({ description: 'In the log of the deployment, `_annals`.' }),
    endedAt: time.nullable(),
    workflowId: z.string().nullable(),
  })
  .meta({ id: 'Offboarding' })
export type OffboardingView = z.infer<typeof offboardingViewSchema>
export const offboardingListSchema = z
  .object({ data: z.array(offboardingViewSchema), nextCursor: z.null() })
  .meta({ id: 'OffboardingPage' })
