/**
 * The plain model of a search: every filter as a few lines over the events as they were sent. Written without a
 * look at how Annals finds them.
 */
import type { JsonObject, JsonValue } from '../../src/events/contract.js'
import { defaultPersonTypes } from '../../src/organizations/contract.js'
import { isPersonActor, isPersonTarget } from '../../src/subjects/policy.js'
import type { SampleEvent, SampleParty } from './samples.js'

export interface ModelEvent {
  readonly id: string
  readonly sent: SampleEvent
  /** References of the actor and the targets, undefined for things. */
  readonly subjects: readonly (string | undefined)[]
  /** Kinds of personal data in free text. */
  readonly detected: readonly string[]
}

export interface ModelFilter {
  action?: string
  category?: string
  outcome?: string
  actorType?: string
  actorId?: string
  actorEmail?: string
  targetType?: string
  targetId?: string
  subject?: string
  ip?: string
  sessionId?: string
  requestId?: string
  metadata?: Record<string, string>
  detected?: string
  q?: string
  from?: string
  to?: string
}

export type FilterName = keyof ModelFilter

const text = (value: JsonValue | undefined) => (typeof value === 'string' ? value : undefined)
const time = ({ occurredAt }: SampleEvent) => new Date(occurredAt).getTime()
const isPersonTargetOf = (target: SampleParty) =>
  isPersonTarget(target.type, defaultPersonTypes) &&
  (text(target['id']) ?? text(target['email'])) !== undefined

/** The events of one organization, with what is known of its persons. */
export class SearchModel {
  /** Every e-mail that a reference was seen with. */
  readonly #emails = new Map<string, Set<string>>()

  constructor(readonly events: readonly ModelEvent[]) {
    for (const { sent, subjects } of events) {
      ;[sent.actor, ...sent.targets].forEach((party, index) => {
        const subject = subjects[index]
        if (subject === undefined) return
        const seen = this.#emails.get(subject) ?? new Set()
        for (const value of [text(party['email']), text(party['id'])]) {
          if (value !== undefined && /^\s*[^\s@]+@[^\s@]+\.[^\s@]+\s*$/.test(value)) seen.add(normal(value))
        }
        const email = text(party['email'])
        if (email !== undefined) seen.add(normal(email))
        this.#emails.set(subject, seen)
      })
    }
  }

  /** Ids of the events that fulfil the filter, in order. */
  search(filter: ModelFilter, order: 'asc' | 'desc', personal: boolean): string[] {
    const found = this.events
      .filter((event) => this.#fits(event, filter, personal))
      .sort((a, b) => time(a.sent) - time(b.sent) || (a.id < b.id ? -1 : 1))
      .map(({ id }) => id)
    return order === 'asc' ? found : found.reverse()
  }

  #fits({ sent, subjects, detected }: ModelEvent, filter: ModelFilter, personal: boolean): boolean {
    const { actor, targets, context } = sent
    const { actorType, targetType } = filter
    const sameType = (type: string, wanted: string | undefined) =>
      wanted === undefined || type.toLowerCase() === wanted.toLowerCase()
    const given = <Value>(value: Value | undefined, fits: (value: Value) => boolean) =>
      value === undefined || fits(value)
    return (
      given(filter.action, (value) =>
        value.endsWith('.*') ? sent.action.startsWith(value.slice(0, -1)) : sent.action === value,
      ) &&
      given(filter.category, (value) => (sent['category'] ?? 'product') === value) &&
      given(filter.outcome, (value) => (sent['outcome'] ?? 'success') === value) &&
      given(filter.actorType, (value) => actor.type === value) &&
      given(
        filter.actorId,
        (value) =>
          actor['id'] === value &&
          (!isPersonActor(actor.type) || (personal && sameType(actor.type, actorType))),
      ) &&
      given(filter.actorEmail, (value) => this.#emails.get(subjects[0] ?? '')?.has(normal(value)) === true) &&
      given(filter.targetType, (value) => targets.some(({ type }) => type === value)) &&
      given(filter.targetId, (value) =>
        targets.some(
          (target) =>
            target['id'] === value &&
            (!isPersonTargetOf(target) || (personal && sameType(target.type, targetType))),
        ),
      ) &&
      given(filter.subject, (value) => subjects.includes(value)) &&
      given(filter.ip, (value) => context['ip'] === value) &&
      given(filter.sessionId, (value) => context['sessionId'] === value) &&
      given(filter.requestId, (value) => context['requestId'] === value) &&
      given(filter.metadata, (pairs) =>
        Object.entries(pairs).every(([key, value]) => {
          const stored = sent.metadata[key]
          return stored !== undefined && typeof stored !== 'object' && String(stored) === value
        }),
      ) &&
      given(filter.detected, (value) => detected.includes(value)) &&
      given(filter.q, (value) =>
        value.split(/\s+/).every((word) => word === '' || textsOf(sent).some(holds(word))),
      ) &&
      given(filter.from, (value) => time(sent) >= new Date(value).getTime()) &&
      given(filter.to, (value) => time(sent) < new Date(value).getTime())
    )
  }
}

const normal = (email: string) => email.trim().toLowerCase()

/** What every reader sees of an event in words. */
export function textsOf({ action, actor, targets, context, metadata, ...rest }: SampleEvent): string[] {
  const texts = [action, ...leaves(rest['description']), ...leaves(metadata)]
  const things = [
    ...(isPersonActor(actor.type) ? [] : [actor]),
    ...targets.filter((target) => !isPersonTargetOf(target)),
  ]
  for (const { id, name, email, metadata: more } of things as JsonObject[])
    texts.push(
      ...leaves([id ?? null, name ?? null, email ?? null]),
      ...Object.values(more ?? {}).flatMap(leaves),
    )
  const clear = isPersonActor(actor.type) ? { requestId: context['requestId'] ?? null } : context
  return [...texts, ...Object.values(clear).flatMap(leaves)]
}

function leaves(value: JsonValue | undefined): string[] {
  if (value === undefined || value === null) return []
  if (typeof value !== 'object') return [String(value)]
  if (Array.isArray(value)) return value.flatMap(leaves)
  return Object.entries(value).flatMap(([key, member]) => [key, ...leaves(member)])
}

const isLetterOrDigit = (character: string) => /[\p{L}\p{N}]/u.test(character)

/** Is the word in the text, without case, where a word of the text begins? */
const holds = (word: string) => (text: string) => {
  const lower = text.toLowerCase()
  for (let at = lower.indexOf(word.toLowerCase()); at >= 0; at = lower.indexOf(word.toLowerCase(), at + 1)) {
    const before = at === 0 ? '' : (text[at - 1] ?? '')
    const first = text[at] ?? ''
    if (before === '' || !isLetterOrDigit(word[0] ?? '') || !isLetterOrDigit(before)) return true
    if (/[\p{Ll}\p{N}]/u.test(before) && /\p{Lu}/u.test(first)) return true
  }
  return false
}

/** A value that the event has for a filter, undefined where it has none. `pick` chooses below a bound. */
export function valueFrom(
  { sent, subjects, detected }: ModelEvent,
  name: FilterName,
  pick: (bound: number) => number,
): ModelFilter | undefined {
  const oneOf = <T>(values: readonly T[]) => values[pick(Math.max(1, values.length))]
  const { actor, targets, context } = sent
  const value = (found: string | undefined): ModelFilter | undefined =>
    found === undefined || found === '' ? undefined : { [name]: found }
  switch (name) {
    case 'action': {
      const parts = sent.action.split('.')
      const dots = pick(parts.length)
      return value(dots === 0 ? sent.action : `${parts.slice(0, dots).join('.')}.*`)
    }
    case 'category':
      return value(text(sent['category']) ?? 'product')
    case 'outcome':
      return value(text(sent['outcome']) ?? 'success')
    case 'actorType':
      return value(actor.type)
    case 'actorId':
      return value(text(actor['id']))
    case 'actorEmail':
      return value(text(actor['email'])?.toUpperCase())
    case 'targetType':
      return value(oneOf(targets)?.type)
    case 'targetId':
      return value(text(oneOf(targets)?.['id']))
    case 'subject':
      return value(oneOf(subjects))
    case 'ip':
    case 'sessionId':
    case 'requestId':
      return value(text(context[name]))
    case 'metadata': {
      const pairs = Object.entries(sent.metadata).flatMap(([key, stored]) =>
        typeof stored === 'object' || key === '' || String(stored).length > 256
          ? []
          : [[key, String(stored)]],
      )
      const [key, wanted] = oneOf(pairs) ?? []
      return key === undefined || wanted === undefined ? undefined : { metadata: { [key]: wanted } }
    }
    case 'detected':
      return value(oneOf(detected))
    case 'q': {
      const words = textsOf(sent).flatMap((one) => one.split(/\s+/))
      const some = Array.from({ length: 1 + pick(2) }, () => {
        const word = oneOf(words) ?? ''
        return Array.from(word)
          .slice(pick(3) === 0 ? pick(5) : 0)
          .slice(0, 2 + pick(30))
          .join('')
      })
      const query = some.join(' ').trim()
      return value(pick(2) === 0 ? query : query.toUpperCase())
    }
    case 'from':
      return value(new Date(sent.occurredAt).toISOString())
    case 'to':
      return value(new Date(time(sent) + 1).toISOString())
  }
}

export const filterNames: readonly FilterName[] = [
  'action',
  'category',
  'outcome',
  'actorType',
  'actorId',
  'actorEmail',
  'targetType',
  'targetId',
  'subject',
  'ip',
  'sessionId',
  'requestId',
  'metadata',
  'detected',
  'q',
  'from',
  'to',
]

/** Filters that need the personal grant. */
export const personalNames: ReadonlySet<FilterName> = new Set(['actorEmail', 'ip', 'sessionId'])
