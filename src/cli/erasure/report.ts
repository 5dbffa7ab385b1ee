/** An erasure request in words: where it stands, what a reviewer has to see, what comes next, and what happened. */
import { z } from 'zod'

/** What is read of an answer; `--json` prints the whole. */
const answerSchema = z.looseObject({
  id: z.string(),
  organizationId: z.string(),
  state: z.string(),
  submitter: z.string(),
  dueAt: z.string(),
  overdue: z.boolean(),
  duplicateOf: z.string().nullable(),
  coolingOffEndsAt: z.string().nullish(),
  expiryAt: z.string().nullish(),
  needsOperator: z.looseObject({ reason: z.string(), targets: z.array(z.string()) }).nullable(),
  scope: z
    .looseObject({
      subjects: z.array(z.string()),
      ambiguousIdentifiers: z.array(z.number()),
      targets: z.array(
        z.object({ target: z.string(), status: z.string(), items: z.number(), held: z.number() }),
      ),
      freeText: z.array(
        z.looseObject({
          identifier: z.number(),
          kind: z.string(),
          hits: z.number(),
          joint: z.number(),
          needsConfirmation: z.boolean(),
        }),
      ),
    })
    .nullish(),
  recipients: z
    .array(
      z.looseObject({
        position: z.number(),
        status: z.string(),
        attempts: z.number(),
        nextAttemptAt: z.string().nullable(),
        lastStatus: z.number().nullable(),
        lastFailure: z.string().nullable(),
      }),
    )
    .optional(),
  evidence: z
    .array(z.looseObject({ event: z.string(), at: z.string(), by: z.string().nullable() }))
    .optional(),
})

type Answer = z.infer<typeof answerSchema>
type Scope = NonNullable<Answer['scope']>

/** @param answer of the API, to any call about one request */
export function requestText(answer: unknown): string {
  const request = answerSchema.parse(answer)
  const {
    id,
    state,
    dueAt,
    overdue,
    duplicateOf,
    needsOperator,
    scope,
    recipients = [],
    evidence = [],
  } = request
  return [
    `${id}: ${state}${duplicateOf === null ? '' : ` of ${duplicateOf}`}, due ${dueAt}${overdue ? ', OVERDUE' : ''}`,
    ...(needsOperator === null
      ? []
      : [`  needs an operator: ${[needsOperator.reason, ...needsOperator.targets].join(', ')}`]),
    ...(scope === null || scope === undefined ? [] : scopeLines(scope, state === 'review')),
    ...recipients.map(recipientLine),
    ...nextLines(request),
    ...evidence.map(({ at, event, by }) => `  ${at}  ${event}  ${by ?? 'annals'}`),
  ].join('\n')
}

/** @param open nobody has decided on it yet */
function scopeLines({ subjects, ambiguousIdentifiers, targets, freeText }: Scope, open: boolean): string[] {
  return [
    `  persons: ${String(subjects.length)}`,
    ...(open ? ambiguousIdentifiers : []).map(
      (position) => `  identifier ${String(position)} leads to several persons: are all of them meant?`,
    ),
    ...targets.map(
      ({ target, status, items, held }) =>
        `  ${target}: ${status === 'counted' ? String(items) : status}${held === 0 ? '' : `, ${String(held)} held`}`,
    ),
    ...freeText.map(
      ({ identifier, kind, hits, joint, needsConfirmation }) =>
        `  identifier ${String(identifier)} (${kind}) in clear text: ${String(hits)}` +
        (joint === 0 ? '' : `, ${String(joint)} of them beside other persons`) +
        (needsConfirmation && open ? ', stays unless confirmed' : ''),
    ),
  ]
}

/** What whoever looks at it may want to do now. */
function nextLines({
  id,
  organizationId,
  state,
  submitter,
  coolingOffEndsAt,
  expiryAt,
  scope,
}: Answer): string[] {
  const command = (action: string, more = '') =>
    `annals erasure ${action} ${id} --organization ${organizationId}${more}`
  switch (state) {
    case 'identity_pending':
      return [`  next: ${command('verify-identity', ' --method … --result verified')}`]
    case 'review': {
      const open = (scope?.freeText ?? []).filter(({ needsConfirmation }) => needsConfirmation)
      const confirm = open.map(({ identifier }) => ` --confirm ${String(identifier)}`).join('')
      const who = `another officer than ${submitter}`
      return [
        `  next: ${command('approve')}, by ${who}`,
        ...(confirm === '' ? [] : [`        with${confirm} where what is unconfirmed is meant, too`]),
      ]
    }
    case 'cooling_off':
      return [`  next: erased from ${coolingOffEndsAt ?? 'soon'} on; until then: ${command('withdraw')}`]
    case 'awaiting_expiry':
      return [`  next: complete by itself once what remains has expired, ${expiryAt ?? 'soon'}`]
    case 'needs_operator':
      return [`  next: see to it, then: ${command('retry')}`]
    case 'completed':
    case 'completed_with_exceptions':
      return [`  certificate: ${command('certificate')}`]
    default:
      return []
  }
}

type RecipientAnswer = NonNullable<Answer['recipients']>[number]

function recipientLine(recipient: RecipientAnswer): string {
  const { position, status, attempts, nextAttemptAt, lastStatus, lastFailure } = recipient
  const last = lastStatus === null ? lastFailure : String(lastStatus)
  return [
    `  recipient ${String(position)}: ${status}, ${String(attempts)} ${attempts === 1 ? 'attempt' : 'attempts'}`,
    ...(last === null ? [] : [`last ${last}`]),
    ...(nextAttemptAt === null ? [] : [`next ${nextAttemptAt}`]),
  ].join(', ')
}
