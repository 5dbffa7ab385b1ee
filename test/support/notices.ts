/** Telling the recipients of an erasure, without the days that pass in between. */
import { createErasureNotices, type ErasureNotices } from '../../src/delivery/erasure-notices.js'
import { createSender, type SenderOptions, type SendWebhook } from '../../src/delivery/sender.js'
import { createDeliveryStore, type DeliveryStore } from '../../src/delivery/store.js'
import type { ErasureIdentifier, OpenedErasureRequest, Recipient } from '../../src/erasure/contract.js'
import { newId, newReference } from '../../src/ids.js'
import { testAuthority } from './receiver.js'
import type { World } from './world.js'

export const secondMs = 1_000
export const hourMs = 3_600 * secondMs
export const person: readonly ErasureIdentifier[] = [
  { kind: 'id', type: 'user', value: 'u_8812-notice' },
  { kind: 'email', value: 'nora.notice@acme.example' },
]

/** One request whose recipients are told. */
export interface Run {
  readonly request: OpenedErasureRequest
  readonly store: DeliveryStore
  /** Moved by the test alone. */
  nowMs: number
  notify: () => ReturnType<ErasureNotices['notify']>
  /** Moves to when the next attempt is due, and notifies. */
  next(): Promise<string>
  outcomes: () => ReturnType<DeliveryStore['outcomesOf']>
}

let organizations = 0

interface RunOptions {
  readonly request?: Partial<OpenedErasureRequest>
  readonly sender?: Partial<SenderOptions>
  readonly wrap?: (send: SendWebhook) => SendWebhook
  readonly store?: (store: DeliveryStore) => DeliveryStore
  readonly giveUpMs?: number
}

/** A request with these recipients, told by the real sender and store; the clock is the test's. */
export function openRun({ api: { core } }: World, urls: readonly string[], options: RunOptions = {}): Run {
  const recipients: Recipient[] = urls.map((url, position) => ({
    name: `recipient ${String(position)}`,
    url,
  }))
  const request: OpenedErasureRequest = {
    organizationId: `org_notices_${String((organizations += 1))}`,
    requestId: newId('erasure'),
    state: 'notifying',
    submittedAt: new Date(),
    submitter: newReference('prn'),
    approver: newReference('prn'),
    policyVersion: 1,
    identifiers: person,
    recipients,
    jointFreeText: 'redact',
    exempt: [],
    confirmed: [],
    scope: null,
    attestations: [],
    ...options.request,
  }
  const store = createDeliveryStore(core.db)
  const plain = createSender({
    allowPrivate: true,
    ca: testAuthority,
    resolve: () => Promise.resolve(['127.0.0.1']),
    limits: { connectMs: 1_000, totalMs: 1_000, bodyMs: 100 },
    ...options.sender,
  })
  let nowMs = Date.now()
  const notices = createErasureNotices({
    requests: { open: () => Promise.resolve(request) },
    deliveries: (options.store ?? ((same) => same))(store),
    secrets: core.delivery.secrets,
    send: (options.wrap ?? ((same) => same))(plain),
    giveUpMs: options.giveUpMs ?? 72 * hourMs,
    now: () => new Date(nowMs),
    random: () => 0,
  })
  const notify = () => notices.notify(request, () => undefined)
  return {
    request,
    store,
    get nowMs() {
      return nowMs
    },
    set nowMs(ms) {
      nowMs = ms
    },
    notify,
    async next() {
      const [due] = (await store.of(request))
        .flatMap(({ nextAttemptAt }) => (nextAttemptAt === null ? [] : [nextAttemptAt.getTime()]))
        .sort((a, b) => a - b)
      if (due !== undefined) nowMs = Math.max(nowMs, due)
      return (await notify()).result
    },
    outcomes: () => store.outcomesOf(request),
  }
}

/** The secrets that sign an organization's webhooks. */
export const secretsOf = async ({ api: { core } }: World, organizationId: string): Promise<string[]> =>
  (await core.delivery.secrets.signing(organizationId)).map(({ secret }) => secret)

/** Takes turn after turn until every recipient has its outcome. @returns how many turns there were */
export async function toEnd(run: Run): Promise<number> {
  for (let turns = 1; turns < 100; turns += 1) if ((await run.next()) === 'notified') return turns
  throw new Error('the recipients have no outcome after a hundred turns')
}
