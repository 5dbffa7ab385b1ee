/** What `annals verify` is run on: receipts, a server, copies that are edited, and the samples of twenty organizations. */
import { execFile } from 'node:child_process'
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { childEnvironment } from '../../src/config.js'
import { eventSchema, parseEvent } from '../../src/events/schema.js'
import { receiptOfJson } from '../../src/verification/receipt-check.js'
import { download, verifyFolder, verifyReceipt } from '../../src/verification/run.js'
import { allSamples } from '../support/samples.js'
import { accept, drainUntilSealed } from '../support/sealing.js'
import { documentOf, places, useSealedLogs, type SealedLog } from '../support/sealed-logs.js'

const cli = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url))
const { world, keysOf, sealedLog, leafOf } = useSealedLogs()
const events = () => world().api.core.events

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'annals-verify-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

describe('a receipt', () => {
  const receiptOf = async ({ org, ids }: SealedLog, at: number, key = world().ownerKey) =>
    (
      await world().request(
        'GET',
        `/v1/organizations/${org}/events/${String(ids[at])}/proof?view=verifiable`,
        {
          key,
          headers: { accept: 'application/json' },
        },
      )
    ).body as Record<string, unknown>
  const codes = (json: unknown, keys: readonly string[]) =>
    verifyReceipt(receiptOfJson(json), keys).findings.map(({ code, at }) => `${code} at ${at}`)

  it('verifies offline, field by field', async () => {
    const one = await sealedLog(20)
    const report = verifyReceipt(receiptOfJson(await receiptOf(one, 5)), one.keys)
    expect(report.findings).toEqual([])
    expect(report.eventId).toBe(one.ids[5])
    expect(report.fields.map(({ state }) => state)).not.toContain('missing')
    const auditor = await world().key({ role: 'auditor', principal: 'prn_00000000000000000000000001' })
    const veiled = verifyReceipt(receiptOfJson(await receiptOf(one, 5, auditor)), one.keys)
    expect(veiled.fields).toContainEqual({ slot: 'actor', state: 'withheld' })
  })

  it('fails where anything of it is of another size, log, record or event', async () => {
    const [one, other] = [await sealedLog(20), await sealedLog(20)]
    const early = await receiptOf(one, 5)
    await accept(world().api.core, one.org, 7)
    await drainUntilSealed(world().api.core, one.org)
    const late = await receiptOf(one, 5)
    expect(codes({ ...late, checkpoint: early['checkpoint'] }, one.keys)).toContain('proof_invalid at proof')
    expect(codes({ ...early, size: late['size'] }, one.keys)).toEqual(['proof_invalid at size'])
    expect(codes({ ...late, index: Number(late['index']) + 1 }, one.keys)).toEqual(['proof_invalid at proof'])
    expect(codes(late, other.keys)).toEqual(['checkpoint_invalid at checkpoint'])
    const second = await receiptOf(one, 6)
    expect(codes({ ...late, event: second['event'] }, one.keys)).toEqual(['event_misplaced at event'])
    expect(codes({ ...late, id: second['id'] }, one.keys)).toEqual(['event_misplaced at record'])
    const record = String(late['record']).replace('account', 'product')
    expect(codes({ ...late, record }, one.keys)).toContain('proof_invalid at proof')
    expect(() => receiptOfJson({ ...late, record: null })).toThrow(/no record/)
  })
})

describe('the command', () => {
  const run = (...options: string[]) =>
    new Promise<{ code: number; out: string; error: string }>((resolve) => {
      const environment = childEnvironment({ ANNALS_KEY: world().ownerKey, ANNALS_DATA_DIR: folder })
      execFile(process.execPath, [cli, ...options], { env: environment }, (failure, out, error) => {
        resolve({ code: failure === null ? 0 : Number(failure.code), out, error })
      })
    })

  it('verifies a server, saves the checkpoint, goes on from it, and exits 3 once something is wrong', async () => {
    const one = await sealedLog()
    const pin = one.keys.flatMap((key) => ['--log-key', key])
    const saved = join(folder, 'last.checkpoint')
    const first = await run('verify', world().url, '--organization', one.org, '--save', saved)
    expect([first.code, first.out]).toEqual([0, expect.stringMatching(/^intact {2}annals\.local/)])
    expect(first.error).toContain('trusted at first use')
    const second = await run('verify', world().url, ...pin, '--from', saved, '--json')
    expect(second.code).toBe(0)
    expect(JSON.parse(second.out)).toMatchObject({ verdict: 'intact', trustedLeaves: 7, leaves: 0 })
    await events().deleteOne({ _id: documentOf(one, 2) })
    const third = await run('verify', world().url, '--organization', one.org, ...pin)
    expect(third.code).toBe(3)
    expect(third.out).toContain('event_missing')
    expect(third.error).toContain(`the first leaf that differs is 1.${String(await leafOf(one, one.ids[2]))}`)
  })

  it('verifies a receipt as JSON, and as text with its record beside it', async () => {
    const one = await sealedLog()
    const path = `/v1/organizations/${one.org}/events/${String(one.ids[0])}/proof`
    const json = await world().request('GET', `${path}?view=verifiable`, {
      headers: { accept: 'application/json' },
    })
    const text = await world().request('GET', path)
    const pin = one.keys.flatMap((key) => ['--log-key', key])
    const file = join(folder, 'receipt')
    await writeFile(`${file}.json`, json.text)
    await writeFile(file, text.text)
    await writeFile(`${file}.record`, `${(json.body as { record: string }).record}\n`)
    for (const target of [file, `${file}.json`]) {
      const verified = await run('verify', target, ...pin)
      expect([verified.code, verified.error, verified.out]).toEqual([
        0,
        '',
        expect.stringContaining('intact'),
      ])
      expect((await run('verify', target)).code).toBe(2)
    }
    await writeFile(`${file}.record`, '{}')
    expect((await run('verify', file, ...pin)).code).toBe(3)
    await writeFile(file, 'c2sp.org/tlog-proof@v1\n')
    expect((await run('verify', file, ...pin)).code).toBe(3)
  })

  it('says what it cannot do: 2, 4 and 5', async () => {
    expect((await run('verify', join(folder, 'nowhere'))).code).toBe(2)
    expect((await run('verify', world().url, '--organization', 'org_nobody')).code).toBe(5)
    expect((await run('verify', 'http://127.0.0.1:9', '--organization', 'org_acme')).code).toBe(4)
    expect(
      (await run('verify', world().url, '--organization', 'org_acme', '--from', join(folder, 'nowhere')))
        .code,
    ).toBe(2)
  })

  it('downloads a log that verifies offline, without server or secret, and finds what is done to the copy', async () => {
    const one = await sealedLog(300)
    const copy = join(folder, 'copy')
    const done = await run('verify', world().url, '--organization', one.org, '--download', copy)
    expect([done.code, done.out]).toEqual([0, expect.stringContaining('301 leaves')])
    const verified = await run('verify', copy, '--json')
    expect([verified.code, verified.error]).toEqual([0, expect.stringContaining('trusted at first use')])
    expect(JSON.parse(verified.out)).toMatchObject({ leaves: 301, records: 301, events: 301 })
    const edit = async (path: string, change: (text: string) => string, expected: RegExp) => {
      const edited = join(folder, 'edited')
      await cp(copy, edited, { recursive: true })
      const file = join(edited, path)
      await writeFile(file, change(await readFile(file, 'latin1')), 'latin1')
      const { code, out } = await run('verify', edited, ...one.keys.flatMap((key) => ['--log-key', key]))
      expect([path, code, out]).toEqual([path, 3, expect.stringMatching(expected)])
      await rm(edited, { recursive: true })
    }
    await edit('events/000.ndjson', (text) => text.replace('pro\\"', 'max\\"'), /leaf 1\.\d+ .*fields_differ/)
    await edit('events/000.ndjson', (text) => text.split('\n').toSpliced(4, 1).join('\n'), /event_misplaced/)
    await edit('events/001.p/45.ndjson', (text) => `${text}{"id":"evt_x","event":null}\n`, /stray_line/)
    await edit('tile/0/000', (text) => text.slice(0, -32), /tile_malformed/)
    await edit(
      'tile/entries/000',
      (text) => text.replace('team.member.invited', 'team.member.removed'),
      /record_differs/,
    )
    await edit('checkpoint', (text) => text.replace('\n301\n', '\n300\n'), /checkpoint_invalid/)
  })
})

describe('a log of sample events over 20 organizations', () => {
  /** The run takes 100,000; every run takes as many as keep the suite quick. */
  const wanted = Number(childEnvironment({})['ANNALS_TEST_VERIFY_EVENTS'] ?? 3_000)

  it('verifies from a downloaded copy, offline', { timeout: 3_600_000 }, async () => {
    const { core } = world().api
    const samples = allSamples()
    const organizations = Array.from({ length: 20 }, (_, index) => `org_copy_${String(index)}`)
    let next = 0
    const submitNext = async (): Promise<void> => {
      while (next < wanted) {
        const organizationId = String(organizations[next % 20])
        const result = parseEvent(
          { ...samples[next++ % samples.length], organizationId },
          eventSchema,
          Date.now(),
        )
        if (!result.ok) throw new Error('a sample was refused')
        const organization = await core.eventOrganizations.ensure(organizationId, 'system')
        await core.intake.submit({ event: result.parsed.event }, organization)
      }
    }
    await Promise.all(Array.from({ length: 200 }, submitNext))
    for (const organization of organizations) await drainUntilSealed(core, organization)
    let leaves = 0
    for (const organization of organizations) {
      const copy = join(folder, organization)
      const given = {
        url: world().url,
        key: world().ownerKey,
        organization,
        logKeys: await keysOf(organization),
        values: true,
      }
      await download({ ...given, download: copy })
      const { report } = await verifyFolder(copy, { logKeys: given.logKeys, values: true })
      expect([organization, places(report)]).toEqual([organization, []])
      expect([report.records, report.events]).toEqual([report.size, report.size])
      leaves += report.leaves
      await rm(copy, { recursive: true })
    }
    expect(leaves).toBeGreaterThanOrEqual(wanted + 20)
  })
})
