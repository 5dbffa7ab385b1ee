/** `annals verify SERVER` without an organization looks at every log of it. */
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { beforeAll, expect, it, onTestFinished } from 'vitest'
import { childEnvironment } from '../../src/config.js'
import { AnnalsClientError } from '../../src/client/index.js'
import { verifyEach } from '../../src/cli/verify/every-log.js'
import { accept, drainAll } from '../support/sealing.js'
import { documentOf, useSealedLogs, type SealedLog } from '../support/sealed-logs.js'

const cli = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url))
const { world, sealedLog, leafOf } = useSealedLogs()

const run = (key: string, ...options: string[]) => runAt(world().url, key, ...options)

const runAt = (url: string, key: string, ...options: string[]) =>
  new Promise<{ code: number; out: string; error: string }>((resolve) => {
    const environment = childEnvironment({ ANNALS_KEY: key })
    const args = [cli, 'verify', url, ...options]
    execFile(process.execPath, args, { env: environment }, (failure, out, error) => {
      resolve({ code: failure === null ? 0 : Number(failure.code), out, error })
    })
  })

let one: SealedLog
let other: SealedLog
beforeAll(async () => {
  one = await sealedLog(3)
  other = await sealedLog(5)
  await drainAll(world().api.core)
})

it('verifies each, says so in a line, and trusts none of them unasked', async () => {
  const { code, out, error } = await run(world().ownerKey)
  expect([code, out.split('\n').filter((line) => line.startsWith('intact')).length]).toEqual([0, 3])
  expect(out).toMatch(new RegExp(`^intact +${one.org} +\\d+ +\\d+ +\\d+ intact +not anchored$`, 'm'))
  expect(error).toContain('trusted at first use')
  const unseen = await run(world().ownerKey, '--witnesses', '1')
  expect([unseen.code, unseen.error]).toEqual([1, expect.stringContaining('_annals holds, and 1 witnesses')])
})

it('does not call a server intact that names no log', async () => {
  const empty = createServer((_request, response) => {
    response.setHeader('content-type', 'application/json').end('{"data":[],"nextCursor":null}')
  })
  await once(empty.listen(0, '127.0.0.1'), 'listening')
  onTestFinished(() => void empty.close())
  const { port } = empty.address() as AddressInfo
  const { code, out, error } = await runAt(`http://127.0.0.1:${String(port)}`, world().ownerKey)
  expect([code, out, error]).toEqual([2, '', expect.stringContaining('nothing was verified')])
})

it('says whose it is where the key may not know, or an option is of one log', async () => {
  const auditor = await world().key({ role: 'auditor', principal: 'prn_00000000000000000000000001' })
  const refused = await run(auditor)
  expect([refused.code, refused.error]).toEqual([2, expect.stringContaining('Give --organization')])
  for (const [option, value] of [
    ['--save', 'x'],
    ['--from', 'x'],
    ['--download', 'x'],
    ['--generation', '1'],
    ['--log-id', 'x'],
  ] as const) {
    const { code, error } = await run(world().ownerKey, option, value)
    expect([code, error]).toEqual([2, expect.stringContaining(`${option} is of one`)])
  }
})

it('is not content with an organization whose log is not there', async () => {
  await accept(world().api.core, 'org_unsealed', 1)
  const { code, out, error } = await run(world().ownerKey)
  expect([code, out]).toEqual([2, expect.stringContaining('not verified  org_unsealed  not_sealed')])
  expect(error).toContain('No log is here of: org_unsealed.')
  await drainAll(world().api.core)
  expect((await run(world().ownerKey)).code).toBe(0)
})

it('names the one that does not hold, and goes on with the others', async () => {
  await world().api.core.events.deleteOne({ _id: documentOf(one, 1) })
  const { code, out, error } = await run(world().ownerKey)
  expect([code, error]).toEqual([3, expect.stringContaining(`1 of 4 logs do not hold; ${one.org}: `)])
  expect(error).toContain(`the first leaf that differs is 1.${String(await leafOf(one, one.ids[1]))}`)
  expect(out).toMatch(new RegExp(`^intact +${other.org} `, 'm'))
  expect(out).toContain('event_missing')
  const json = await run(world().ownerKey, '--json')
  const { verdict, logs } = JSON.parse(json.out) as {
    verdict: string
    logs: { organization: string; verdict: string }[]
  }
  expect(json.code).toBe(3)
  expect(verdict).toBe('tampering')
  expect(logs.find(({ organization }) => organization === one.org)?.verdict).toBe('tampering')
  expect(logs.find(({ organization }) => organization === other.org)?.verdict).toBe('intact')
})

it('passes over logs of another region and of who has left, and over nothing else', async () => {
  const failing = (code: 'wrong_region' | 'offboarded' | 'not_found' | 'internal') => () =>
    Promise.reject(new AnnalsClientError(code, code))
  const told = { organization: 'org_a', code: 'offboarded' }
  expect(await verifyEach(['org_a'], failing('offboarded'))).toEqual({
    ...{ logs: [], elsewhere: [told], absent: [] },
  })
  expect((await verifyEach(['org_a'], failing('wrong_region'))).elsewhere).toHaveLength(1)
  expect((await verifyEach(['org_a'], failing('not_found'))).absent).toHaveLength(1)
  await expect(verifyEach(['org_a'], failing('internal'))).rejects.toThrow('internal')
  await expect(verifyEach(['org_a'], () => Promise.reject(new Error('other')))).rejects.toThrow('other')
})
