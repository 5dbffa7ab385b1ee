import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { createOutput } from '../../src/cli/output.js'
import { createProgram } from '../../src/cli/program.js'
import { eventItemSchema, parseEvent } from '../../src/events/schema.js'
import { createLogger } from '../../src/logging.js'
import { sampleOrganizations } from '../../src/samples/index.js'
import { openScanWorld, type ScanWorld } from './scans-world.js'

const resultSchema = z.object({
  madeKey: z.string().nullable(),
  organizations: z.array(z.object({ id: z.string(), stored: z.int(), replayed: z.int() })),
  scan: z.object({ id: z.string(), workflowId: z.string() }),
})

test('every sample event is a valid one, at an address that nobody has', () => {
  const lines = sampleOrganizations().flatMap(({ id, lines: own }) => own.map((line) => ({ id, line })))
  expect(lines.length).toBeGreaterThanOrEqual(60)
  for (const { id, line } of lines) {
    const parsed = parseEvent(JSON.parse(line), eventItemSchema, Date.now())
    expect(parsed).toMatchObject({ ok: true, parsed: { event: { organizationId: id } } })
    for (const [, host] of line.matchAll(/@([a-z0-9.-]+)/g)) expect(host).toMatch(/\.example$/)
  }
  expect(
    new Set(lines.map(({ line }) => z.object({ action: z.string() }).parse(JSON.parse(line)).action)).size,
  ).toBeGreaterThan(30)
})

describe('annals demo', () => {
  let world: ScanWorld
  beforeAll(async () => {
    world = await openScanWorld()
    await world.work()
  })
  afterAll(() => world.close())

  async function demo(...args: string[]): Promise<{ out: string; err: string }> {
    const texts = { out: '', err: '' }
    const sink = (name: 'out' | 'err') => ({
      write: (text: string) => {
        texts[name] += text
        return true
      },
    })
    const notUsed = () => Promise.reject(new Error('the demo needs no such service'))
    const program = createProgram({
      services: {
        openApi: notUsed,
        setup: notUsed,
        up: notUsed,
        openKeys: () => Promise.resolve({ keys: world.api.core.accessKeys, close: () => Promise.resolve() }),
        openLog: () => Promise.reject(new Error('not used')),
      },
      loadConfig: () => ({ ...world.config, client: { url: world.url, key: undefined } }),
      createLogger: () => createLogger('silent'),
      output: (command) =>
        createOutput(command.optsWithGlobals<{ json?: boolean }>().json === true, {
          out: sink('out'),
          error: sink('err'),
        }),
    })
    await program.parseAsync(['demo', ...args], { from: 'user' })
    return texts
  }
  const actions = async (organizationId: string) => {
    const found = await world.api.core.events.find({ organizationId }).toArray()
    return found.map(({ action }) => action)
  }

  test('sends two customers and a scan, and a second time changes nothing', async () => {
    const first = resultSchema.parse(JSON.parse((await demo('--json')).out))
    expect(first.madeKey).not.toBeNull()
    expect(first.organizations.map(({ stored }) => stored)).toEqual(
      sampleOrganizations().map(({ lines }) => lines.length),
    )
    await expect.poll(() => actions('org_brightleaf')).toContain('annals.scan.finished')
    const before = await actions('org_brightleaf')
    const again = resultSchema.parse(JSON.parse((await demo('--json', '--key', world.ownerKey)).out))
    expect(again.organizations.every(({ stored }) => stored === 0)).toBe(true)
    expect([again.madeKey, again.scan.id]).toEqual([null, first.scan.id])
    expect(await actions('org_brightleaf')).toEqual(before)
  })

  test('prints what to try next, and the key is good for it', async () => {
    const { out } = await demo()
    const key = /ANNALS_KEY='([^']+)'/.exec(out)?.[1] ?? ''
    const addresses = [...out.matchAll(/curl -sS '?(http[^' ]+)'? -H/g)].map(([, address]) => address ?? '')
    expect(addresses.length).toBeGreaterThanOrEqual(5)
    for (const address of addresses) {
      const isSearch = address.endsWith('/search')
      const answer = await world.request(isSearch ? 'POST' : 'GET', address.slice(world.url.length), {
        key,
        ...(isSearch ? { body: { actorEmail: 'lena@harbourline.example' } } : {}),
      })
      expect([address, answer.status]).toEqual([address, 200])
      if (address.includes('/events')) expect((answer.body as { data: unknown[] }).data).not.toEqual([])
    }
    expect(out).toContain('npx annals import')
    expect(out).toContain('npx annals verify')
  })

  test('against another address it needs a key', async () => {
    await expect(demo('--url', world.url)).rejects.toMatchObject({ code: 'unauthenticated' })
  })
})
