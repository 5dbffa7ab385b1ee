import { expect, test } from 'vitest'
import { AnnalsError } from '../../../src/errors.js'
import type { RecordedEvent, SystemEvent } from '../../../src/events/contract.js'
import { notePersonalRead, type PersonalRead } from '../../../src/events/personal-reads.js'

const reader = { principal: 'prn_01h455vb4pex5vsknk084sn02q', personal: true, requestId: 'r' }
const read = (shown: string[], valid: boolean): PersonalRead => ({
  organizationId: 'org_acme',
  reader,
  note: { by: 'search' },
  events: 3,
  shown,
  leases: [{ valid: true }, { valid }],
})

function notes() {
  const written: SystemEvent[] = []
  const write = (event: SystemEvent): Promise<RecordedEvent> => {
    written.push(event)
    const leafHash = new Uint8Array(32)
    return Promise.resolve({
      id: 'evt',
      organizationId: 'org_acme',
      receivedAt: new Date(),
      leafHash,
      replayed: false,
    })
  }
  return { written, write }
}

test('a long list of persons is counted whole and listed in part', async () => {
  const { written, write } = notes()
  const shown = Array.from({ length: 700 }, (_, n) => `sub_${String(n)}`)
  await notePersonalRead({ write }, read(shown, true))
  expect(written[0]?.metadata).toMatchObject({
    by: 'search',
    events: 3,
    subjectCount: 700,
    subjects: shown.slice(0, 500),
  })
})

test('nothing is shown under a lease that has lapsed, of whichever person', async () => {
  await expect(notePersonalRead(notes(), read(['sub_1'], false))).rejects.toMatchObject({
    code: 'unavailable',
  })
})

test('a look-up that showed nobody needs no lease', async () => {
  const { written, write } = notes()
  await notePersonalRead({ write }, read([], false))
  expect(written).toHaveLength(1)
})

test('where the note cannot be written, nothing is shown', async () => {
  const write = () => Promise.reject(new AnnalsError('unavailable', 'away'))
  await expect(notePersonalRead({ write }, read(['sub_1'], true))).rejects.toMatchObject({
    code: 'unavailable',
  })
})
