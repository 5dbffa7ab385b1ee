/**
 * Tells the recipients of a person's data that it was erased (GDPR Art. 19). One call of `notify` makes the attempts that
 * are due and says when the next one is; the workflow sleeps until then, for days.
 *
 * A recipient cannot erase whom nobody names: the body carries the request's identifiers, read from the request while it
 * is open, and kept nowhere else. A recipient that does not answer holds nothing up for good: when its time is over it
 * stands as `timed_out`, and the request goes on.
 */
import type {
  ErasureIdentifier,
  ErasureReference,
  ErasureRequests,
  OpenedErasureRequest,
} from '../erasure/contract.js'
import type { NotifyOutcome } from '../erasure/contract.js'
import { judge, nextAttemptMs } from './policy.js'
import type { WebhookSecrets } from './secrets.js'
import type { SendWebhook } from './sender.js'
import { signedHeaders } from './signing.js'
import type { DeliveryDocument, DeliveryStore } from './store.js'

export interface ErasureNotices {
  notify(request: ErasureReference, beat: () => void): Promise<NotifyOutcome>
}

export interface ErasureNoticesDependencies {
  readonly requests: Pick<ErasureRequests, 'open'>
  readonly deliveries: DeliveryStore
  readonly secrets: Pick<WebhookSecrets, 'signing'>
  readonly send: SendWebhook
  /** How long a recipient is called, from the first attempt on. */
  readonly giveUpMs: number
  readonly now?: () => Date
  readonly random?: () => number
}

/** Calls at once: a name that does not resolve holds a thread of the process. */
const maxInFlight = 4

export const noticeType = 'person.erased'

/** The body of a notice; docs/webhooks.md explains it to receivers. */
export interface ErasureNotice {
  readonly type: typeof noticeType
  /** RFC 3339; when the first attempt was due. */
  readonly timestamp: string
  readonly data: {
    readonly organizationId: string
    readonly erasureId: string
    /** `shared`: it leads to others too, and the reviewer did not confirm it: never erase by it alone. */
    readonly identifiers: readonly (ErasureIdentifier & { readonly shared?: true })[]
  }
}

export function createErasureNotices(deps: ErasureNoticesDependencies): ErasureNotices {
  const { requests, deliveries, secrets, send, giveUpMs } = deps
  const now = deps.now ?? (() => new Date())
  const random = deps.random ?? Math.random

  async function attempt(document: DeliveryDocument, opened: OpenedErasureRequest): Promise<void> {
    const recipient = opened.recipients[document.position]
    if (recipient === undefined)
      throw new Error('a delivery is to a recipient that the request does not name')
    const at = now()
    const givesUpMs = document.givesUpAt.getTime()
    const number = document.attempts + 1
    const unheard = nextAttemptMs(number, at.getTime(), givesUpMs, { random: random() })
    const nextAttemptAt = unheard === null ? at : new Date(unheard)
    if (!(await deliveries.begin(document, at, nextAttemptAt))) return

    const body = JSON.stringify(noticeOf(opened, document.createdAt))
    const signing = await secrets.signing(opened.organizationId)
    const id = webhookId(opened, document.position)
    const headers = signedHeaders(
      id,
      at,
      body,
      signing.map(({ secret }) => secret),
    )
    const result = await send({ url: recipient.url, headers, body })

    const answeredAt = now()
    const verdict = judge(number, result)
    const retryAfterMs = result.answered ? result.retryAfterMs : null
    const next =
      verdict.status === 'retry'
        ? nextAttemptMs(number, answeredAt.getTime(), givesUpMs, { random: random(), retryAfterMs })
        : null
    await deliveries.record(
      { ...document, attempts: number },
      {
        status: verdict.status === 'retry' ? (next === null ? 'timed_out' : 'pending') : verdict.status,
        at: answeredAt,
        nextAttemptAt: next === null ? null : new Date(next),
        lastStatus: result.answered ? result.status : null,
        lastFailure: verdict.failure,
      },
    )
  }

  return {
    async notify(request, beat) {
      const opened = await requests.open(request)
      if (opened.recipients.length === 0) return { result: 'skipped' }
      const began = now()
      await deliveries.ensure(request, opened.recipients.length, began, new Date(began.getTime() + giveUpMs))
      const due = (await deliveries.of(request)).filter(
        ({ status, nextAttemptAt }) =>
          status === 'pending' && (nextAttemptAt === null || nextAttemptAt <= began),
      )
      const queue = due.values()
      const lane = async (): Promise<void> => {
        for (const document of queue) {
          beat()
          await attempt(document, opened)
        }
      }
      await Promise.all(Array.from({ length: maxInFlight }, lane))
      const waiting = (await deliveries.of(request)).filter(({ status }) => status === 'pending')
      if (waiting.length === 0) return { result: 'notified' }
      const nextMs = Math.min(...waiting.map(({ nextAttemptAt }) => nextAttemptAt?.getTime() ?? 0))
      return { result: 'waiting', until: new Date(nextMs).toISOString() }
    },
  }
}

/** Stable for a recipient and a request: how a receiver knows what it has had. */
export function webhookId({ requestId }: ErasureReference, position: number): string {
  return `${requestId}_${String(position)}`
}

/** The same bytes in each attempt. */
function noticeOf(opened: OpenedErasureRequest, createdAt: Date): ErasureNotice {
  const { organizationId, requestId, identifiers, scope, confirmed } = opened
  const shared = (position: number): boolean =>
    scope?.ambiguousIdentifiers.includes(position) === true && !confirmed.includes(position)
  return {
    type: noticeType,
    timestamp: createdAt.toISOString(),
    data: {
      organizationId,
      erasureId: requestId,
      identifiers: identifiers.map((identifier, position) => ({
        ...identifier,
        ...(shared(position) ? { shared: true as const } : {}),
      })),
    },
  }
}
