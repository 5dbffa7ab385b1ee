/**
 * The whole of an erasure, on the product as it runs: a person is in every place of two organizations, is forgotten in one,
 * and a raw scan of all that is kept finds nothing of them there, and all of them in the other.
 */
import { join } from 'node:path'
import { writeFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createOutput } from '../../src/cli/output.js'
import { run as runCli } from '../../src/cli/program.js'
import { createLogger } from '../../src/logging.js'
import { archiveKinds, nameAbsentS3 } from '../support/archive-worlds.js'
import {
  accepted,
  archived,
  canaryIdentifiers,
  canaryValues,
  openCanaryWorld,
  reaches,
  requested,
  restored,
  scanned,
  sealed,
  secretsOf,
  spreadEvents,
  wait,
  type CanaryWorld,
} from '../support/canary.js'
import {
  allSought,
  scanBucket,
  scanDatabase,
  scanFolder,
  scanLog,
  scanTemporal,
  soughtBytes,
  soughtWords,
} from '../support/raw-scan.js'
import { drainUntilSealed } from '../support/sealing.js'
import type { World } from '../support/world.js'

const erased = 'org_erased'
const kept = 'org_kept'

nameAbsentS3('the canary')

describe.each(archiveKinds)('with the archive in %s', (kind) => {
  let canary: CanaryWorld
  beforeAll(async () => {
    canary = await openCanaryWorld(kind, [erased, kept])
  })
  afterAll(async () => {
    await canary.close()
  })

  test('a person is forgotten everywhere in one organization, and whole in the other', async () => {
    const { world, officers, temporal } = canary
    const [first, second] = officers
    const there = new Map<string, Places>()
    for (const organization of [erased, kept]) there.set(organization, await spread(canary, organization))
    await canary.stopSealing()
    for (const [organization, places] of there) places.pending = await spreadEvents(world, organization)

    const before = await shown(world, kept, there.get(kept), first)
    const everywhere = await shown(world, erased, there.get(erased), first)
    for (const [place, text] of [...Object.entries(before), ...Object.entries(everywhere)])
      expect(
        canaryValues.filter((value) => !text.includes(value)),
        place,
      ).toEqual([])
    const words = soughtWords(canaryValues)
    const places = async (sought = words) => ({
      database: await scanDatabase(world.api.core.db, sought, kept),
      files: await scanFolder(world.config.dataDirectory, sought, kept),
      objects: canary.s3 === undefined ? [] : (await scanBucket(canary.s3, 'annals', sought, kept)).hits,
    })
    const secrets = soughtBytes(await secretsOf(world, erased))
    expect(secrets.words.length).toBeGreaterThan(20)
    // A scan that finds nothing where everything is proves nothing where it finds nothing.
    const found = await places(allSought(words, secrets))
    const collections = new Set(found.database.map((hit) => hit.split('/')[0]))
    for (const name of ['events', 'restoredEvents', 'scans', 'scanFindings', 'directory', 'subjects'])
      expect([...collections]).toContain(name)
    expect([...found.files, ...found.objects].filter((path) => path.includes('.content.'))).not.toEqual([])

    const request = await requested(
      canary,
      erased,
      canaryIdentifiers,
      canaryValues[1] ?? '',
      'has a passport',
    )
    const approve = { confirm: canaryIdentifiers.map((_, position) => position), note: 'as asked' }
    await accepted(world.request('POST', `${request}/approve`, { body: approve, key: second }))
    await reaches(world, request, first, 'completed')
    const certificate = await world.request('GET', `${request}/certificate`, { key: first })
    expect(certificate.status, certificate.text).toBe(200)

    for (const organization of [erased, kept]) await drainUntilSealed(world.api.core, organization)
    const sought = allSought(words, secrets)
    expect(await places(sought)).toEqual({ database: [], files: [], objects: [] })
    const wanted = [
      /^erasure\/org_erased\//,
      /^restore\/org_erased\//,
      /^scan\/org_erased\//,
      /^seal\//,
      /^archive\//,
    ]
    await expect
      .poll(async () => {
        const { workflows } = await scanTemporal(temporal, sought)
        return wanted.filter((name) => !workflows.some((id) => name.test(id))).map(String)
      }, wait)
      .toEqual([])
    const { hits, events } = await scanTemporal(temporal, sought)
    expect(hits).toEqual([])
    expect(events).toBeGreaterThan(100)
    expect(scanLog(canary.logs(), sought)).toEqual([])
    for (const [place, text] of Object.entries(await shown(world, erased, there.get(erased), first)))
      expect(
        canaryValues.filter((value) => text.toLowerCase().includes(value.toLowerCase())),
        place,
      ).toEqual([])
    expect(await shown(world, kept, there.get(kept), first)).toEqual(before)

    // And what is gone is accounted for.
    const server = await verified(world, world.url, erased)
    expect(server).toMatchObject({ code: 0, report: { fields: { missing: 0 }, findings: [] } })
    expect(server.report.fields.erased).toBeGreaterThan(0)
    const other = await verified(world, world.url, kept)
    expect(other).toMatchObject({ code: 0, report: { fields: { missing: 0, erased: 0 }, findings: [] } })
    const address = canary.address ?? join(world.config.dataDirectory, 'archive')
    const archive = await verified(world, address, erased)
    expect(archive).toMatchObject({ code: 0, report: { fields: { missing: 0 }, findings: [] } })
    expect(archive.report.fields.erased).toBeGreaterThan(0)
    expect(await verified(world, address, kept)).toMatchObject({
      code: 0,
      report: { fields: { missing: 0, erased: 0 }, findings: [] },
    })
    const file = join(world.config.dataDirectory, 'certificate.json')
    await writeFile(file, certificate.text)
    expect((await annals(world, 'verify', file, '--url', world.url)).code).toBe(0)
  })
})

interface Places {
  archived: string[]
  hot: string[]
  pending: string[]
  scan: string
  open: string
  words: string[]
}

/** The person in every place of an organization, but for what is pending. */
async function spread(canary: CanaryWorld, organization: string): Promise<Places> {
  const {
    world,
    officers: [, second],
  } = canary
  const [, name = '', email = ''] = canaryValues
  const all = canaryValues.join(', ')
  const scan = await scanned(world, organization)
  const archivedIds = await spreadEvents(world, organization)
  await sealed(world, organization)
  await archived(world, organization, archivedIds)
  const restore = await restored(world, organization, `asked for by ${all}`)
  // One that was denied, of the person, and one that is open, of a colleague.
  const denied = await requested(canary, organization, canaryIdentifiers, name, `called from ${email}`)
  const deny = { ground: '17(3)(e)', note: `a claim against ${name}` }
  await accepted(world.request('POST', `${denied}/deny`, { body: deny, key: second }))
  const colleague = [{ kind: 'id', type: 'user', value: 'u_colleague' }]
  const open = await requested(canary, organization, colleague, `asked by ${all}`, `not of ${all}`)
  const base = `/v1/organizations/${organization}`
  const hold = { scope: { action: 'nothing.*' }, reason: `${all} v. Acme` }
  const holds = await accepted(world.request('POST', `${base}/holds`, { body: hold, key: second }))
  const redaction = { fields: [{ eventId: archivedIds[3], slot: 'metadata/0' }], reason: `says ${all}` }
  const redactions = await accepted(
    world.request('POST', `${base}/redactions`, { body: redaction, key: second }),
  )
  const hot = await spreadEvents(world, organization)
  await sealed(world, organization)
  return {
    archived: archivedIds,
    hot,
    pending: [],
    scan,
    open,
    words: [`/archive/restores/${restore}`, `/holds/${holds.id}`, `/redactions/${redactions.id}`],
  }
}

/** What officers are shown of each place. */
async function shown(
  world: World,
  organization: string,
  places: Places | undefined,
  key: string,
): Promise<Record<string, string>> {
  if (places === undefined) throw new Error('nobody was spread')
  const base = `/v1/organizations/${organization}`
  const read = async (path: string) => {
    const answer = await world.request('GET', `${base}${path}`, { key })
    expect(answer.status, answer.text).toBe(200)
    return answer.text
  }
  const each = async (ids: readonly string[]) => {
    const texts: string[] = []
    for (const id of ids) texts.push(await read(`/events/${id}?personal=true`))
    return texts.join('\n')
  }
  return {
    archived: await each(places.archived),
    restored: await read(`/events?source=restored&limit=500&action=document.*&personal=true`),
    hot: await each(places.hot),
    pending: await each(places.pending),
    scan: await read(`/scans/${places.scan}`),
    request: await read(`${places.open.replace(base, '')}?personal=true`),
    ...Object.fromEntries(
      await Promise.all(places.words.map(async (path) => [path, await read(path)] as const)),
    ),
  }
}

async function annals(world: World, ...given: string[]) {
  const printed = { out: '', notes: '' }
  const output = createOutput(true, {
    out: { write: (text: string) => ((printed.out += text), true) },
    error: { write: (text: string) => ((printed.notes += text), true) },
  })
  const unused = () => Promise.reject(new Error('it goes over HTTP'))
  const services = { openApi: unused, openKeys: unused, openLog: unused, setup: unused, up: unused }
  const context = {
    services,
    loadConfig: () => world.config,
    createLogger: () => createLogger('silent'),
    output: () => output,
  }
  const code = await runCli(given, context, output)
  return { code, ...printed }
}

interface Verified {
  readonly fields: { readonly erased: number; readonly missing: number; readonly intact: number }
  readonly findings: readonly unknown[]
}

async function verified(world: World, target: string, organization: string) {
  const { code, out, notes } = await annals(
    world,
    ...['verify', target, '--organization', organization, '--key', world.ownerKey, '--json'],
  )
  return { code, notes: code === 0 ? '' : notes, report: JSON.parse(out) as Verified }
}
