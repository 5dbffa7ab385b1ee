import { expect, test } from 'vitest'
import { Backoff, retrying } from '../../../src/client/backoff.js'
import { AnnalsClientError, errorOfProblem } from '../../../src/client/errors.js'

const busy = (retryAfterSeconds?: number) =>
  errorOfProblem({ status: 503, code: 'overloaded' }, retryAfterSeconds)

test('pauses double, are spread by chance within their half, and have an end', () => {
  const backoff = new Backoff({ baseMs: 100, maxMs: 1_000, giveUpAfterMs: 1e9 })
  for (const full of [100, 200, 400, 800, 1_000, 1_000]) {
    const ms = backoff.next() ?? Number.NaN
    expect(ms).toBeGreaterThanOrEqual(full / 2)
    expect(ms).toBeLessThanOrEqual(full)
  }
  backoff.reset()
  expect(backoff.next()).toBeLessThanOrEqual(100)
})

test('no pause is shorter than the server asked for, and none goes beyond the time to give up', () => {
  const backoff = new Backoff({ baseMs: 1, giveUpAfterMs: 5_000 })
  expect(backoff.next(3_000)).toBe(3_000)
  expect(backoff.next(30_000)).toBeUndefined()
})

test('only what may pass is tried again', async () => {
  let tries = 0
  const answer = await retrying(
    () => ((tries += 1) < 3 ? Promise.reject(busy(0)) : Promise.resolve('there')),
    { baseMs: 1 },
  )
  expect([answer, tries]).toEqual(['there', 3])
  tries = 0
  const refused = errorOfProblem({ status: 422, code: 'invalid' })
  await expect(retrying(() => ((tries += 1), Promise.reject(refused)), { baseMs: 1 })).rejects.toBe(refused)
  expect(tries).toBe(1)
  await expect(retrying(() => Promise.reject(busy()), { baseMs: 1, giveUpAfterMs: 0 })).rejects.toMatchObject(
    { code: 'overloaded' },
  )
})

test('a signal ends the waiting', async () => {
  const controller = new AbortController()
  const waiting = retrying(() => Promise.reject(busy(60)), { giveUpAfterMs: 1e9 }, controller.signal)
  controller.abort()
  await expect(waiting).rejects.toBeInstanceOf(AnnalsClientError)
  await expect(waiting).rejects.toMatchObject({ code: 'aborted' })
})
