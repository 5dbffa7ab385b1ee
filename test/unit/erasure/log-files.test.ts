import { renameSync } from 'node:fs'
import { appendFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { createLogFiles } from '../../../src/erasure/log-files.js'
import type { Searched } from '../../../src/erasure/needles.js'
import { logFilesTarget } from '../../../src/erasure/targets/log-files.js'
import type { ErasureWork } from '../../../src/erasure/targets/contract.js'
import type { ReadPlace } from '../../../src/erasure/second-reader.js'

const root = await mkdtemp(join(tmpdir(), 'annals-logs-'))
afterAll(() => rm(root, { recursive: true, force: true }))
let folder = ''
beforeEach(async () => {
  folder = await mkdtemp(join(root, 'logs-'))
})

const email = 'jane.doe@acme.example'
const people: readonly Searched[] = [{ kind: 'email', value: email }]

interface Look {
  readonly left: number
  readonly places: readonly string[]
  readonly read: readonly ReadPlace[]
}

async function look(
  paths: readonly string[] = [],
  searched = people,
  beat: () => void = () => undefined,
): Promise<Look> {
  const places: string[] = []
  const read: ReadPlace[] = []
  const work = {
    searched,
    beat,
    onLeft: (place: string) => places.push(place),
    onRead: (place: ReadPlace) => read.push(place),
  }
  // All that this target reads of a request.
  const left = await logFilesTarget(createLogFiles({ folder, paths })).verify(work as unknown as ErasureWork)
  return { left, places, read }
}

test('a line that names the person is told by file and number, in what was turned over and packed too', async () => {
  await writeFile(join(folder, 'serve.log'), `one\ntwo ${email}\nthree\n${email.toUpperCase()}`)
  await writeFile(join(folder, 'serve.log.1'), `${email}\n`)
  await mkdir(join(folder, 'older'))
  await writeFile(
    join(folder, 'older', 'work.log.2.gz'),
    gzipSync(`{"a":1}\n{"url":"/x?q=jane.doe%40acme.example"}\n`),
  )
  await writeFile(join(folder, 'mongod.log'), 'nothing of anybody\n')
  const { left, places, read } = await look()
  expect([...places].sort()).toEqual([
    'log_files/serve.log.1:1',
    'log_files/serve.log:2',
    'log_files/serve.log:4',
    'log_files/work.log.2.gz:2',
  ])
  expect(left).toBe(4)
  expect(read).toEqual([{ kind: 'log_files', name: 'log_files', read: 4 }])
})

test('a line across the parts that a file is read in is one line, and one too long for memory is looked through', async () => {
  const filler = `${'x'.repeat(262_144 - 10)}\n`
  await writeFile(join(folder, 'a.log'), `${filler.slice(1)}${email}\nend\n`)
  await writeFile(
    join(folder, 'b.log'),
    `first\n${'y'.repeat(3_000_000)} ${email} ${'z'.repeat(3_000_000)}\n`,
  )
  // Across the place where a line that goes on and on is cut: behind five parts.
  await writeFile(join(folder, 'c.log'), `${'w'.repeat(5 * 262_144 - 8)} ${email} ${'w'.repeat(262_144)}`)
  const { places } = await look()
  expect(places).toContain('log_files/a.log:2')
  expect(places).toContain('log_files/c.log:1')
  expect(new Set(places.filter((place) => place.includes('b.log')))).toEqual(new Set(['log_files/b.log:2']))
})

test('a number of the server is no identifier, and the same as text is one', async () => {
  const id = { kind: 'id', value: '4615611' } as const
  await writeFile(
    join(folder, 'mongod.log'),
    `{"id":4615611,"msg":"started"}\n{"attr":{"user":"4615611"}}\nuser 4615611\n`,
  )
  const { places } = await look([], [id])
  expect(places).toEqual(['log_files/mongod.log:2', 'log_files/mongod.log:3'])
})

test('an identifier of a few letters, which stands in any log, is not looked for', async () => {
  await writeFile(join(folder, 'serve.log'), 'ann came\n')
  expect(await look([], [{ kind: 'other', value: 'ann' }])).toMatchObject({ left: 0 })
})

test('a name of a file that holds the person is a find, and is not told', async () => {
  await writeFile(join(folder, `log of ${email}`), 'nothing\n')
  expect(await look()).toMatchObject({ left: 1, places: ['log_files/file_1'] })
})

test('a file that is turned over while another is read is read under its new name, and none twice', async () => {
  await writeFile(join(folder, 'a.log'), 'first\n')
  await writeFile(join(folder, 'b.log'), `${email}\n`)
  let turned = false
  const beat = () => {
    if (turned) return
    turned = true
    // Between the list and the opening.
    renameSync(join(folder, 'b.log'), join(folder, 'b.log.1'))
  }
  const { places, read } = await look([], people, beat)
  expect(places).toHaveLength(1)
  expect(places[0]).toMatch(/^log_files\/b\.log(\.1)?:1$/)
  expect(read[0]?.read).toBe(2)
})

test('what is appended while it is read does not keep the reading from its end', async () => {
  const file = join(folder, 'busy.log')
  await writeFile(file, 'one\n')
  await look([], people, () => void appendFile(file, 'more\n'))
})

describe('what cannot be looked through blocks by the name of the target', () => {
  const blocks = { name: 'TargetError', target: 'log_files', reason: 'target_unavailable' }

  test('a path that an operator named and that is not there', async () => {
    await expect(look([join(folder, 'absent.log')])).rejects.toMatchObject(blocks)
    await expect(createLogFiles({ folder, paths: [join(folder, 'absent')] }).reach()).rejects.toMatchObject(
      blocks,
    )
  })

  test('a file that does not unpack, or is packed as nothing here unpacks', async () => {
    await writeFile(join(folder, 'broken.gz'), gzipSync('x'.repeat(1_000)).subarray(0, 20))
    await expect(look()).rejects.toMatchObject(blocks)
    await rm(join(folder, 'broken.gz'))
    await writeFile(join(folder, 'old.log.zst'), 'whatever')
    await expect(look()).rejects.toMatchObject(blocks)
    await expect(createLogFiles({ folder, paths: [] }).reach()).rejects.toMatchObject(blocks)
  })

  test('the folder of `annals up` is no such path: without it there is nothing to read', async () => {
    folder = join(folder, 'none')
    expect(await look()).toMatchObject({ left: 0, read: [{ read: 0 }] })
  })
})
