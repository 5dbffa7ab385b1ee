/** `annals verify ARCHIVE`: whole archives of several logs, without a database, and what is done to them. */
import { rename, rm } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { sha256Of } from '../../../src/archive/segment-manifest.js'
import type { CliContext } from '../../../src/cli/context.js'
import { createOutput } from '../../../src/cli/output.js'
import { run } from '../../../src/cli/program.js'
import { newReference } from '../../../src/ids.js'
import { openArchive, verifyArchive } from '../../../src/verification/archive-run.js'
import { TrustError } from '../../../src/verification/errors.js'
import {
  storedSamples,
  storedSystemEvent,
  testArchive,
  testArchiveKeys,
  TestLog,
  type TestArchive,
} from '../../support/segments.js'

const [acme, other] = [await storedSamples('org_acme', 600), await storedSamples('org_other', 40)]

interface World {
  readonly archive: TestArchive
  readonly log: TestLog
  readonly path: (from: number, to: number, end: string) => string
}

async function world(): Promise<World> {
  const archive = await testArchive()
  const log = new TestLog('org_acme')
  log.seal(acme)
  await archive.archive(log, [200, 400, 600])
  const second = new TestLog('org_other', 2)
  second.seal(other)
  await archive.archive(second, [40])
  const digits = (leaf: number) => String(leaf).padStart(12, '0')
  return { archive, log, path: (from, to, end) => `org_acme/1/${digits(from)}-${digits(to)}.${end}` }
}

const options = { archiveKeys: [], logKeys: [], values: true }

async function reportOf(archive: TestArchive, more: Partial<Parameters<typeof verifyArchive>[1]> = {}) {
  return verifyArchive(await openArchive(archive.folder), { ...options, ...more })
}

test('an archive verifies from its folder alone, every log and every value of it, and says what it trusted', async () => {
  const { archive, log } = await world()
  const progress: number[] = []
  const { report, trustedOnFirstUse, keys } = await reportOf(archive, {
    onProgress: (leaves, total) => progress.push(leaves / total),
  })
  expect(report).toMatchObject({ segments: 4, leaves: 640, records: 640, events: 640, findingCount: 0 })
  expect(report.logs).toMatchObject([
    { organizationId: 'org_acme', generation: 1, from: 0, to: 600, segments: 3, size: 600 },
    { organizationId: 'org_other', generation: 2, from: 0, to: 40, segments: 1, size: 40 },
  ])
  expect(report.fields).toMatchObject({ missing: 0, erased: 0, expired: 0 })
  expect(report.fields.intact).toBeGreaterThan(2_000)
  expect(report.fields.withheld).toBeGreaterThan(100)
  expect(progress.at(-1)).toBe(1)
  expect(progress.toSorted((a, b) => a - b)).toEqual(progress)
  expect({ trustedOnFirstUse, keys }).toEqual({
    trustedOnFirstUse: true,
    keys: await archive.keys.verifierKeys(),
  })
  const pinned = await reportOf(archive, {
    archiveKeys: keys,
    logKeys: log.logKeys,
    organizationId: 'org_acme',
  })
  expect(pinned).toMatchObject({ trustedOnFirstUse: false, report: { segments: 3, findingCount: 0 } })
  const recordsOnly = await reportOf(archive, { values: false })
  expect(recordsOnly.report).toMatchObject({ records: 640, events: 0, expired: 0, findingCount: 0 })
})

test('content that is said to have expired, and is not proved to have had to, is missing, as is a value without a reason', async () => {
  const { archive, log } = await world()
  const evidence = await log.evidence(0, 200)
  const segment = await archive.writer.write(log.range(0, 200), log.source(0, 200), {
    evidence,
    previous: null,
  })
  const rewritten = await archive.writer.rewriteContent(segment, (leaves) =>
    leaves.map(({ index, event }) => (index < 150 ? undefined : event)),
  )
  expect(rewritten.content.state).toBe('reduced')
  // Until what was before is deleted nothing has gone, and that counts.
  expect((await reportOf(archive)).report).toMatchObject({ events: 640, expired: 0, findingCount: 0 })
  await archive.writer.deleteOtherContent(segment, 2)
  const unproved = (await reportOf(archive)).report
  expect(unproved).toMatchObject({ events: 490, expired: 0, findingCount: 1 })
  expect(unproved.findings).toMatchObject([{ code: 'event_missing', leaf: { index: 0 } }])
  const recorded = { ...segment, content: rewritten.content }
  await archive.writer.rewriteContent(recorded, (leaves) =>
    leaves.map(({ index, event }) => {
      if (index !== 170) return event
      const fields = event.fields.map((field) => {
        if (!('subject' in field)) return field
        const { slot, subject, subjectSalt, commitment } = field
        return { slot, subject, subjectSalt, commitment }
      })
      return { ...event, fields }
    }),
  )
  const { report } = await reportOf(archive)
  const persons = log.leaves[170]?.event?.fields.filter((field) => 'subject' in field).length ?? 0
  expect(report.fields.missing).toBe(persons)
  const excused = await reportOf(archive, { excuse: () => 'erased' })
  expect(excused.report).toMatchObject({ fields: { missing: 0, erased: persons }, findingCount: 1 })
})

test('what was erased is said to be, where the archive has the sealed event of it and the ledger its manifest', async () => {
  const person = acme.flatMap(({ fields }) => fields).find((field) => 'subject' in field)
  if (person === undefined || !('subject' in person)) throw new Error('there is a person in the samples')
  const { subject } = person
  const body = { kind: 'annals/erasure/subjects', organizationId: 'org_acme', subjects: [subject], v: 1 }
  const manifest = Buffer.from(JSON.stringify(body))
  const archive = await testArchive()
  const log = new TestLog('org_acme')
  log.seal(acme)
  log.seal([
    await storedSystemEvent('org_acme', 'annals.subject.erasure_started', {
      manifest: sha256Of(manifest),
      submitter: newReference('prn'),
      approver: newReference('prn'),
    }),
  ])
  const segment = await archive.archive(log, [log.leaves.length])
  let removed = 0
  await archive.writer.rewriteContent(segment, (leaves) =>
    leaves.map(({ event }) => {
      const fields = event.fields.map((field) => {
        if (!('subject' in field) || field.subject !== subject) return field
        removed += 1
        return { slot: field.slot, subject, subjectSalt: field.subjectSalt, commitment: field.commitment }
      })
      return { ...event, fields }
    }),
  )
  const { store: ledger } = await testArchive()
  const verified = async () => (await verifyArchive({ segments: archive.store, ledger }, options)).report
  expect(await verified()).toMatchObject({ fields: { erased: 0, missing: removed } })
  await ledger.put('org_acme/erasures/erasure_1.subjects.json', () => Readable.from([manifest]), {
    sha256: Buffer.from(sha256Of(manifest), 'hex'),
    bytes: manifest.length,
  })
  expect(removed).toBeGreaterThan(0)
  expect(await verified()).toMatchObject({ fields: { erased: removed, missing: 0 }, findingCount: 0 })
})

const attacks: Record<string, (world: World) => Promise<{ code: string; at: string; leaf?: number }>> = {
  'a segment taken out of the middle': async ({ archive, path }) => {
    for (const end of ['records.manifest', 'records.ndjson.gz', 'content.1.manifest', 'content.1.ndjson.gz'])
      await rm(join(archive.folder, path(200, 400, end)))
    return { code: 'chain_broken', at: path(400, 600, 'records.manifest'), leaf: 200 }
  },
  'the manifest of records deleted': async ({ archive, path }) => {
    await rm(join(archive.folder, path(200, 400, 'records.manifest')))
    return { code: 'manifest_missing', at: path(200, 400, 'records.manifest') }
  },
  'the content deleted, with its manifest': async ({ archive, path }) => {
    await rm(join(archive.folder, path(0, 200, 'content.1.manifest')))
    await rm(join(archive.folder, path(0, 200, 'content.1.ndjson.gz')))
    return { code: 'manifest_missing', at: path(0, 200, 'content.1.manifest') }
  },
  'a data file deleted': async ({ archive, path }) => {
    await rm(join(archive.folder, path(400, 600, 'content.1.ndjson.gz')))
    return { code: 'object_missing', at: path(400, 600, 'content.1.ndjson.gz') }
  },
  'two data files swapped': async ({ archive, path }) => {
    const [a, b] = [path(0, 200, 'records.ndjson.gz'), path(200, 400, 'records.ndjson.gz')]
    await rename(join(archive.folder, a), join(archive.folder, 'aside'))
    await rename(join(archive.folder, b), join(archive.folder, a))
    await rename(join(archive.folder, 'aside'), join(archive.folder, b))
    return { code: 'object_differs', at: a }
  },
  'a segment under the name of another': async ({ archive, path }) => {
    await archive.edit(
      path(200, 400, 'records.manifest'),
      await archive.read(path(0, 200, 'records.manifest')),
    )
    return { code: 'manifest_foreign', at: path(200, 400, 'records.manifest') }
  },
  'a whole segment written anew by who has the key, with other leaves': async ({ archive, path }) => {
    const forged = new TestLog('org_acme')
    forged.seal(acme.toReversed())
    const evidence = await forged.evidence(200, 400)
    for (const end of ['records.manifest', 'records.ndjson.gz', 'content.1.manifest', 'content.1.ndjson.gz'])
      await rm(join(archive.folder, path(200, 400, end)))
    await archive.writer.write(forged.range(200, 400), forged.source(200, 400), {
      evidence,
      previous: '00'.repeat(32),
    })
    return { code: 'chain_broken', at: path(200, 400, 'records.manifest') }
  },
  'something that no segment has': async ({ archive }) => {
    await archive.edit('org_acme/1/notes.txt', Buffer.from('x'))
    return { code: 'object_unknown', at: 'org_acme/1/notes.txt' }
  },
}

test.each(Object.entries(attacks))('%s is found by its name', async (_, attack) => {
  const made = await world()
  const expected = await attack(made)
  const { report } = await reportOf(made.archive)
  expect(report.findingCount).toBeGreaterThan(0)
  const found = report.findings.find(({ at }) => at === expected.at)
  expect(found).toBeDefined()
  expect(found?.code).toBe(expected.code)
  if (expected.leaf !== undefined) expect(found?.leaf?.index).toBe(expected.leaf)
})

test('keys that were had from elsewhere find an archive that was signed by somebody else', async () => {
  const { archive } = await world()
  const foreign = await testArchiveKeys().verifierKeys()
  const { report } = await reportOf(archive, { archiveKeys: foreign })
  expect(report.findings[0]).toMatchObject({ code: 'manifest_invalid' })
  const strange = new TestLog('org_acme')
  const pinned = await reportOf(archive, { logKeys: strange.logKeys, organizationId: 'org_acme' })
  expect(pinned.report.findings[0]).toMatchObject({ code: 'checkpoint_invalid' })
  await rm(join(archive.folder, 'archive.keys'))
  await expect(verifyArchive({ segments: archive.store, ledger: undefined }, options)).rejects.toBeInstanceOf(
    TrustError,
  )
})

test('the command exits 0 on a whole archive, and 3 on one that was altered, with the place in words and in JSON', async () => {
  const { archive, path } = await world()
  const command = async (...args: string[]) => {
    const stdout: string[] = []
    const stderr: string[] = []
    const streams = {
      out: { write: (text: string) => stdout.push(text) > 0 },
      error: { write: (text: string) => stderr.push(text) > 0 },
    }
    const refuse = () => Promise.reject(new Error('an archive is verified without any of them'))
    const context: CliContext = {
      services: { openApi: refuse, openKeys: refuse, openLog: refuse, setup: refuse, up: refuse },
      loadConfig: () => {
        throw new Error('an archive is verified without a configuration')
      },
      createLogger: () => {
        throw new Error('an archive is verified without a log')
      },
      output: (self) => createOutput(self.optsWithGlobals<{ json?: boolean }>().json === true, streams),
    }
    const code = await run(['verify', ...args], context, createOutput(false, streams))
    return { code, stdout: stdout.join(''), stderr: stderr.join('') }
  }
  const whole = await command(archive.folder)
  expect(whole).toMatchObject({ code: 0 })
  expect(whole.stdout).toContain('intact  2 logs  4 segments  640 leaves')
  expect(whole.stderr).toContain('the keys come from the archive itself')
  const file = path(200, 400, 'content.1.ndjson.gz')
  const bytes = await archive.read(file)
  bytes[300] = (bytes[300] ?? 0) ^ 1
  await archive.edit(file, bytes)
  const altered = await command(`file:${archive.folder}`, '--json')
  expect(altered.code).toBe(3)
  const { verdict, findings } = JSON.parse(altered.stdout) as { verdict: string; findings: unknown[] }
  expect({ verdict, findings }).toMatchObject({
    verdict: 'tampering',
    findings: [{ code: 'member_malformed', at: file, leaf: { generation: 1, index: 200 } }],
  })
})
