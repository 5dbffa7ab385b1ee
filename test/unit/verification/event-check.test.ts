/** The second implementation of slot, commitment and record rules, against the one that intake uses. */
import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { EventInput, JsonObject, JsonValue } from '../../../src/events/contract.js'
import { createDetector } from '../../../src/events/detectors/detector.js'
import { protectEvent } from '../../../src/events/protect.js'
import { rebuildCommitments, rebuildLeaf } from '../../../src/events/rebuild.js'
import type { StoredEvent } from '../../../src/events/store.js'
import { verifiableEvent } from '../../../src/events/verifiable.js'
import { newId, newReference } from '../../../src/ids.js'
import { createOrganizationKeys } from '../../../src/keys/organization-keys.js'
import { rootKeyFromBytes } from '../../../src/keys/root-key.js'
import { Lease, systemClock } from '../../../src/subjects/leases.js'
import type { ReadableSubject } from '../../../src/subjects/readers.js'
import { nodeRules } from '../../../src/verification/node-rules.js'

const { checkEvent } = nodeRules
const keys = createOrganizationKeys(rootKeyFromBytes(randomBytes(32)))
const keyset = await keys.open('org_acme', await keys.createOrganizationKey('org_acme'))

const text = fc.string({ unit: 'grapheme', maxLength: 40 })
const metadata = fc.dictionary(
  text,
  fc.jsonValue({ maxDepth: 2 }).map((value) => JSON.parse(JSON.stringify(value)) as JsonValue),
  { maxKeys: 6 },
)
const party = fc.record({ type: fc.constantFrom('user', 'service', 'team'), id: text, name: text, metadata })
const event = fc.record({
  actor: party,
  targets: fc.array(party, { maxLength: 3 }),
  description: fc.option(text, { nil: undefined }),
  metadata,
  context: fc.record({ ip: text, requestId: text }),
  persons: fc.array(fc.boolean(), { minLength: 4, maxLength: 4 }),
})
type Given = typeof event extends fc.Arbitrary<infer Event> ? Event : never

interface Protected {
  readonly stored: StoredEvent
  /** What a reader with the grant, and one without, has of the subjects. */
  readonly open: ReadonlyMap<string, ReadableSubject>
  readonly masked: ReadonlyMap<string, ReadableSubject>
}

function protect(given: Given): Protected {
  const subject = () => ({
    reference: newReference('sub'),
    key: randomBytes(32),
    lease: new Lease(systemClock),
  })
  const input: EventInput = {
    ...given,
    organizationId: 'org_acme',
    action: 'team.member.invited',
    occurredAt: new Date(),
    outcome: 'success',
    category: 'account',
    version: 1,
  }
  const subjects = {
    actor: given.persons[3] === true ? subject() : undefined,
    targets: given.targets.map((_, index) => (given.persons[index] === true ? subject() : undefined)),
  }
  const stored = protectEvent(input, subjects, keyset, {
    id: newId('evt'),
    receivedAt: new Date(),
    fingerprint: false,
    search: createDetector().begin(),
  })
  const known = [subjects.actor, ...subjects.targets].flatMap((one) => (one === undefined ? [] : [one]))
  return {
    stored,
    open: new Map(known.map(({ reference, key }) => [reference, { state: 'active', key }])),
    masked: new Map(known.map(({ reference }) => [reference, { state: 'active' }])),
  }
}

/** As it comes over the wire. */
const wire = (stored: StoredEvent, subjects: ReadonlyMap<string, ReadableSubject>) =>
  JSON.parse(JSON.stringify(verifiableEvent(stored, subjects))) as JsonObject & { fields: JsonObject[] }

const recordOf = (stored: StoredEvent) => {
  const rebuilt = rebuildLeaf(stored)
  if (rebuilt === undefined) throw new Error('intake makes events that rebuild')
  return rebuilt.record
}

describe('an event in its verifiable form', () => {
  test('makes the record that intake committed to, slot by slot, with the grant and without it', () => {
    fc.assert(
      fc.property(event, (given) => {
        const { stored, open, masked } = protect(given)
        const record = recordOf(stored)
        const slots = rebuildCommitments(stored)?.map(({ slot }) => slot)
        const whole = checkEvent(wire(stored, open), record)
        expect(whole).toEqual({ record, fields: slots?.map((slot) => ({ slot, state: 'intact' })) })
        const veiled = checkEvent(wire(stored, masked), record)
        const blocks = new Set(stored.fields.flatMap((field) => ('subject' in field ? [field.slot] : [])))
        const state = (slot: string) => (blocks.has(slot) ? 'withheld' : 'intact')
        expect(veiled.problem).toBeUndefined()
        expect(veiled.fields).toEqual(slots?.map((slot) => ({ slot, state: state(slot) })))
      }),
      { numRuns: 200 },
    )
  })

  test('holds no salt of a block that is not shown', () => {
    fc.assert(
      fc.property(event, (given) => {
        const { stored, masked } = protect(given)
        for (const field of wire(stored, masked).fields) {
          if ('subject' in field) expect(Object.keys(field)).not.toContain('salt')
        }
      }),
      { numRuns: 50 },
    )
  })

  test('does not make its record once any text of it is changed', () => {
    fc.assert(
      fc.property(event, fc.nat(), (given, which) => {
        const { stored, open } = protect(given)
        const record = recordOf(stored)
        const form = wire(stored, open)
        const places: [JsonObject, string][] = [
          'action',
          'category',
          'occurredAt',
          'actorType',
          'outcome',
        ].map((name) => [form, name])
        for (const field of form.fields) {
          for (const name of ['value', 'salt', 'subject', 'subjectSalt', 'commitment'] as const)
            if (name in field) places.push([field, name])
        }
        const [target, name] = places[which % places.length] ?? [form, 'action']
        const value = target[name]
        target[name] = edited(typeof value === 'string' ? value : '')
        const { problem, fields } = checkEvent(form, record)
        expect([name, problem?.code]).toEqual([name, expect.stringMatching(/differ|malformed/)])
        if (target === form) expect(problem).toMatchObject({ code: 'envelope_differs' })
        expect(fields.some(({ state }) => state === 'missing') || problem?.code === 'event_malformed').toBe(
          true,
        )
      }),
      { numRuns: 300 },
    )
  })

  test('is missing what was taken from it, unless something sealed accounts for it', () => {
    fc.assert(
      fc.property(event, (given) => {
        const { stored, open } = protect(given)
        const record = recordOf(stored)
        const commitments = new Map(
          rebuildCommitments(stored)?.map(({ slot, commitment }) => [slot, commitment]),
        )
        const emptied = stored.fields.map((field) => {
          if (!('slot' in field)) return field
          const commitment = commitments.get(field.slot) ?? Buffer.alloc(32)
          if (!('subject' in field)) return { slot: field.slot, commitment }
          const { slot, subject, subjectSalt } = field
          return { slot, subject, subjectSalt, commitment }
        })
        const form = wire({ ...stored, fields: emptied }, open)
        const check = checkEvent(form, record)
        expect(check.problem).toBeUndefined()
        for (const { slot, state } of check.fields)
          expect([slot, state]).toEqual([slot, slot.endsWith('/subject') ? 'intact' : 'missing'])
        const excused = checkEvent(form, record, (_slot, subject) =>
          subject === undefined ? 'expired' : 'erased',
        )
        const states = new Set(excused.fields.map(({ state }) => state))
        expect(states.has('missing')).toBe(false)
      }),
      { numRuns: 100 },
    )
  })

  test('never throws, whatever it is', () => {
    fc.assert(
      fc.property(fc.jsonValue(), event, fc.nat(), (value, given, which) => {
        const { stored, open } = protect(given)
        const record = recordOf(stored)
        expect(checkEvent(value, record).problem?.code).toBe('event_malformed')
        const form = wire(stored, open)
        form.fields[which % form.fields.length] = value as JsonObject
        expect(checkEvent(form, record).problem).toBeDefined()
      }),
      { numRuns: 200 },
    )
  })

  test('is told from another event’s record', () => {
    const given = fc.sample(event, 1)[0]
    if (given === undefined) throw new Error('a sample is there')
    const [one, other] = [protect(given), protect(given)]
    expect(checkEvent(wire(one.stored, one.open), recordOf(other.stored)).problem?.code).toBe(
      'event_misplaced',
    )
  })
})

/** The same text but for one character, in the same alphabet. */
function edited(text: string): string {
  if (text === '') return 'A'
  const at = Math.floor(text.length / 2)
  return text.slice(0, at) + (text.charAt(at) === 'A' ? 'B' : 'A') + text.slice(at + 1)
}
