import { expect, test } from 'vitest'
import type { Caller } from '../../../src/access/contract.js'
import { createRateLimits } from '../../../src/access/rate-limits.js'

const caller = (keyId: string, eventsPerMinute: number | null): Caller => ({
  keyId,
  role: 'ingest',
  principal: 'prn_01h455vb4pex5vsknk084sn02q',
  organizations: 'all',
  personal: false,
  eventsPerMinute,
})

test('a key without a limit costs no wait', () => {
  expect(createRateLimits().take(caller('key_a', null), 1_000_000)).toBeUndefined()
})

test('a key gets its limit and no more, whatever other keys do, and is told when to come again', async () => {
  const limits = createRateLimits()
  const limited = caller('key_a', 10)
  for (let n = 0; n < 10; n += 1) await limits.take(limited, 1)
  await expect(limits.take(limited, 1)).rejects.toMatchObject({ code: 'rate_limited' })
  const refusal: unknown = await limits.take(limited, 1)?.catch((error: unknown) => error)
  const { retryAfterSeconds } = refusal as { retryAfterSeconds: number }
  expect(retryAfterSeconds).toBeGreaterThan(0)
  expect(retryAfterSeconds).toBeLessThanOrEqual(60)
  await limits.take(caller('key_b', 10), 10)
})

test('what was refused does not count', async () => {
  const limits = createRateLimits()
  const limited = caller('key_a', 10)
  await expect(limits.take(limited, 11)).rejects.toMatchObject({ code: 'rate_limited' })
  await limits.take(limited, 10)
})
