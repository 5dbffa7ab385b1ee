import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { BSON } from 'mongodb'
import { expect, test } from 'vitest'
import type { EventInput, JsonObject } from '../../src/events/contract.js'
import { protectEvent } from '../../src/events/protect.js'
import { storedBytes } from '../../src/events/stored-size.js'
import { createOrganizationKeys } from '../../src/keys/organization-keys.js'
import { rootKeyFromBytes } from '../../src/keys/root-key.js'
import { Lease, systemClock } from '../../src/subjects/leases.js'

const keys = createOrganizationKeys(rootKeyFromBytes(randomBytes(32)))
const keyset = await keys.open('o'.repeat(64), await keys.createOrganizationKey('o'.repeat(64)))
const person = {
  reference: 'sub_01h455vb4pex5vsknk084sn02q',
  key: randomBytes(32),
  lease: new Lease(systemClock),
}

const text = fc.string({ unit: 'binary', maxLength: 40 })
const metadata = fc
  .dictionary(text, fc.oneof(text, fc.integer(), fc.boolean(), fc.array(text, { maxLength: 4 })), {
    maxKeys: 30,
  })
  .map((object) => JSON.parse(JSON.stringify(object)) as JsonObject)
const party = fc.record({ type: fc.stringMatching(/^[a-z]{1,64}$/), id: text, name: text, metadata })

test('storedBytes is never less than the BSON, and not many times more', () => {
  fc.assert(
    fc.property(
      fc.record({ actor: party, targets: fc.array(party, { maxLength: 10 }), metadata, description: text }),
      fc.boolean(),
      (parts, persons) => {
        const event: EventInput = {
          organizationId: 'o'.repeat(64),
          action: 'a.b.c.d.e'.padEnd(128, 'x'),
          occurredAt: new Date(),
          context: { ip: '203.0.113.7', userAgent: 'x', requestId: 'r', sessionId: 's' },
          outcome: 'failure',
          category: 'automation',
          version: 1_000_000,
          ...parts,
        }
        const subject = persons ? person : undefined
        const subjects = { actor: subject, targets: parts.targets.map(() => subject) }
        const options = { id: 'evt_01h455vb4pex5vsknk084sn02q', receivedAt: new Date(), fingerprint: true }
        const stored = protectEvent(event, subjects, keyset, options)
        const exact = BSON.calculateObjectSize(stored)
        expect(storedBytes(stored)).toBeGreaterThanOrEqual(exact)
        expect(storedBytes(stored)).toBeLessThan(exact * 3 + 1_024)
      },
    ),
    { numRuns: 500 },
  )
})
