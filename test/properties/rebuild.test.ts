import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { EventInput, JsonValue } from '../../src/events/contract.js'
import { createDetector } from '../../src/events/detectors/detector.js'
import { protectEvent } from '../../src/events/protect.js'
import { rebuildCommitments, rebuildLeaf } from '../../src/events/rebuild.js'
import { fieldCommitment, fieldsDigest } from '../../src/events/record.js'
import type { StoredEvent, StoredField } from '../../src/events/store.js'
import { newId, newReference } from '../../src/ids.js'
import { createOrganizationKeys } from '../../src/keys/organization-keys.js'
import { rootKeyFromBytes } from '../../src/keys/root-key.js'
import { Lease, systemClock } from '../../src/subjects/leases.js'

const keys = createOrganizationKeys(rootKeyFromBytes(randomBytes(32)))
const keyset = await keys.open('org_acme', await keys.createOrganizationKey('org_acme'))
const subject = () => ({
  reference: newReference('sub'),
  key: randomBytes(32),
  lease: new Lease(systemClock),
})

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
  keepsValues: fc.array(fc.boolean(), { minLength: 20, maxLength: 20 }),
})

function protect(given: typeof event extends fc.Arbitrary<infer Event> ? Event : never): StoredEvent {
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
  const options = {
    id: newId('evt'),
    receivedAt: new Date(),
    fingerprint: false,
    search: createDetector().begin(),
  }
  return protectEvent(input, subjects, keyset, options)
}

/** What retention and erasure leave of a field. */
function emptied(eventId: string, field: StoredField): StoredField {
  if (!('slot' in field)) return { terms: [] }
  if ('subject' in field) {
    const { slot, subject, subjectSalt, commitment } = field
    return { slot, subject, subjectSalt, commitment }
  }
  if (!('value' in field)) return field
  return { slot: field.slot, commitment: fieldCommitment(eventId, field.slot, field.salt, field.value) }
}

test('the stored form rebuilds to the acknowledged leaf, whatever values and ciphertexts went', () => {
  fc.assert(
    fc.property(event, (given) => {
      const stored = protect(given)
      const eventId = stored._id.slice('org_acme/'.length)
      expect(rebuildLeaf(stored)?.leafHash).toEqual(stored.leafHash)
      const fields = stored.fields.map((field, index) =>
        given.keepsValues[index % 20] === true ? field : emptied(eventId, field),
      )
      const later = { ...stored, fields }
      expect(rebuildLeaf(later)).toEqual(rebuildLeaf(stored))
      const commitments = rebuildCommitments(later)?.map(({ commitment }) => commitment) ?? []
      expect(rebuildLeaf(later)?.record).toContain(`"fields":"${fieldsDigest(commitments)}"`)
    }),
    { numRuns: 300 },
  )
})

test('any other stored form rebuilds to another leaf, or to nothing, and never throws', () => {
  const anything = fc.anything({ withDate: true, withTypedArray: true, withNullPrototype: true })
  fc.assert(
    fc.property(event, anything, fc.nat(), fc.nat(), (given, value, member, field) => {
      const stored = protect(given)
      const members = [
        'v',
        'action',
        'category',
        'outcome',
        'version',
        'occurredAt',
        'receivedAt',
        'actorType',
        'targetTypes',
        'fields',
      ]
      const name = members[member % members.length] ?? 'v'
      if (fc.stringify(stored[name as keyof StoredEvent]) === fc.stringify(value)) return
      const edited = { ...stored, [name]: value } as StoredEvent
      expect(rebuildLeaf(edited)?.leafHash.equals(stored.leafHash)).not.toBe(true)
      const fields = stored.fields.map((one, index) => (index === field % stored.fields.length ? value : one))
      expect(() => rebuildLeaf({ ...stored, fields: fields as StoredField[] })).not.toThrow()
    }),
    { numRuns: 500 },
  )
})
