import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { BSON } from 'mongodb'
import { expect, test } from 'vitest'
import type { EventInput, JsonObject } from '../../src/events/contract.js'
import { protectEvent } from '../../src/events/protect.js'
import type { StoredEvent } from '../../src/events/store.js'
import { storedBson } from '../../src/events/stored-bson.js'
import { createOrganizationKeys } from '../../src/keys/organization-keys.js'
import { rootKeyFromBytes } from '../../src/keys/root-key.js'
import { Lease, systemClock } from '../../src/subjects/leases.js'

const keys = createOrganizationKeys(rootKeyFromBytes(randomBytes(32)))
const keyset = await keys.open('org_acme', await keys.createOrganizationKey('org_acme'))
const person = {
  reference: 'sub_01h455vb4pex5vsknk084sn02q',
  key: randomBytes(32),
  lease: new Lease(systemClock),
}

const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 80 }),
  fc.string({ unit: 'grapheme-ascii', maxLength: 80 }),
)
const metadata = fc
  .dictionary(
    text,
    fc.oneof(text, fc.integer(), fc.double(), fc.boolean(), fc.array(text, { maxLength: 4 })),
    {
      maxKeys: 30,
    },
  )
  .map((object) => JSON.parse(JSON.stringify(object)) as JsonObject)
const party = fc.record({ type: fc.stringMatching(/^[a-z]{1,64}$/), id: text, name: text, metadata })
// The whole range that a BSON date and an int32 have.
const date = fc.date({ noInvalidDate: true })
const event = fc.record({
  organizationId: fc.constant('org_acme'),
  action: fc.stringMatching(/^[a-z]{1,60}(\.[a-z]{1,20}){0,4}$/),
  occurredAt: date,
  actor: party,
  targets: fc.array(party, { maxLength: 12 }),
  context: fc.record({ ip: text, userAgent: text, requestId: text, sessionId: text }),
  description: fc.option(text, { nil: undefined }),
  outcome: fc.constantFrom('success', 'failure'),
  category: fc.constantFrom('account', 'automation'),
  metadata,
  version: fc.integer({ min: 1, max: 2 ** 31 - 1 }),
}) satisfies fc.Arbitrary<EventInput>

function expectTheDrivers(stored: StoredEvent): void {
  const document = storedBson(stored)
  expect(document.equals(BSON.serialize(stored))).toBe(true)
}

test('an event in BSON is what the driver makes of it, byte for byte', () => {
  fc.assert(
    fc.property(event, date, fc.boolean(), fc.boolean(), (given, receivedAt, persons, fingerprint) => {
      const subject = persons ? person : undefined
      const subjects = { actor: subject, targets: given.targets.map(() => subject) }
      const options = { id: 'evt_01h455vb4pex5vsknk084sn02q', receivedAt, fingerprint }
      expectTheDrivers(protectEvent(given, subjects, keyset, options))
    }),
    { numRuns: 1_000 },
  )
})

test('also where it is larger than anything before it', () => {
  for (const length of [10, 48, 49, 1_000, 100_000, 1_000_000]) {
    for (const unit of ['a', 'ü', '漢', '🦉']) {
      const given: EventInput = {
        organizationId: 'org_acme',
        action: 'file.uploaded',
        occurredAt: new Date(0),
        actor: { type: 'service', id: unit },
        targets: [],
        context: {},
        description: unit.repeat(length),
        outcome: 'success',
        category: 'automation',
        metadata: {},
        version: 1,
      }
      const options = { id: 'evt_1', receivedAt: new Date(-1), fingerprint: false }
      expectTheDrivers(protectEvent(given, { actor: undefined, targets: [] }, keyset, options))
    }
  }
})
