import { expect, test } from 'vitest'
import { parseReleaseInput } from '../../../src/erasure/policy.js'

const after = { organizationId: 'org_1', requestId: 'erasure_01h455vb4pex5vsknk084sn02q' }

test.each([
  { organizationId: null },
  { organizationId: 'org_1' },
  { organizationId: null, after, failed: true, requests: 2 },
])('what erases the kept may be started with %j', (input) => {
  expect(parseReleaseInput(input)).toEqual(input)
})

test.each([
  null,
  'org_1',
  {},
  { organizationId: 'org/1' },
  { organizationId: null, after: 'org_1/erasure_x' },
  { organizationId: null, after: { ...after, requestId: 'erasure_x' } },
  { organizationId: null, failed: 'yes' },
  { organizationId: null, requests: 0 },
])('and not with %j', (input) => {
  expect(parseReleaseInput(input)).toBeUndefined()
})
