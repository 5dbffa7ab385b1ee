import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createFolderStore } from '../../../src/archive/stores/folder.js'
import {
  copyNameOf,
  isAhead,
  parseCopy,
  type CheckpointCopies,
  type CopyName,
} from '../../../src/transparency-log/checkpoint-copies/copies.js'
import { createStoredCopies } from '../../../src/transparency-log/checkpoint-copies/stored-copies.js'

let folder: string
let copies: CheckpointCopies

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'annals-copies-'))
  copies = createStoredCopies(createFolderStore({ folder: join(folder, 'archive/checkpoints') }))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

const namesOf = async () => {
  const names: CopyName[] = []
  for await (const name of copies.names()) names.push(name)
  return names.sort()
}

test('a copy reads back as it was written, until it is replaced or removed', async () => {
  expect(await copies.read('anchor')).toBeUndefined()
  expect(await namesOf()).toEqual([])
  await copies.remove('anchor')
  await copies.write('anchor', 'one\n\n')
  await copies.write('org/a', 'of a\n')
  await copies.write('org/A', 'of A\n')
  await copies.write('org/anchor', 'of an organization\n')
  await copies.write('anchor', 'two\n')
  expect(await namesOf()).toEqual(['anchor', 'org/A', 'org/a', 'org/anchor'])
  expect(
    await Promise.all((['anchor', 'org/a', 'org/A', 'org/anchor'] as const).map((name) => copies.read(name))),
  ).toEqual(['two\n', 'of a\n', 'of A\n', 'of an organization\n'])
  await copies.remove('anchor')
  expect(await copies.read('anchor')).toBeUndefined()
})

test('of writes at once one stands, whole, and what a dead process left behind is no copy', async () => {
  const notes = Array.from({ length: 20 }, (_, number) => `${String(number).repeat(5_000)}\n`)
  await Promise.all(notes.map((note) => copies.write('org/a', note)))
  expect(notes).toContain(await copies.read('org/a'))
  const root = join(folder, 'archive/checkpoints')
  const [part = ''] = await readdir(root)
  expect(await readdir(join(root, part))).toHaveLength(1)
  await writeFile(join(root, part, `${'0'.repeat(64)}.x.tmp`), 'org/b\nhalf')
  await writeFile(join(root, 'lost+found'), '')
  expect(await namesOf()).toEqual(['org/a'])
})

const hash = 'TjJyBVy5NFmEFwSEtae/PesgwMd3m0YRyx7XGnNleV8='
const signature = `\u2014 x ${Buffer.alloc(68).toString('base64')}\n`
const note = (origin: string) => `${origin}\n600\n${hash}\n\n${signature}`

test.each([
  ['org/a', 'annals.example/a/1', 1],
  ['org/a', 'annals.example/part/a/12', 12],
  ['org/a', 'annals.example/b/1', undefined],
  ['org/a', 'annals.example/a/0', undefined],
  ['org/a', 'annals.example/a', undefined],
  ['org/anchor', 'annals.example/anchor', undefined],
  ['anchor', 'annals.example/anchor', 1],
  ['anchor', 'annals.example/anchor.7', 7],
  ['anchor', 'annals.example/anchor/7', undefined],
  ['anchor', 'annals.example/xanchor', undefined],
] as const)('the copy %s of a checkpoint of %s is of generation %s', (name, origin, generation) => {
  expect(parseCopy(name, note(origin))?.generation).toBe(generation)
})

test('what is no checkpoint is no copy', () => {
  expect(parseCopy(copyNameOf('a'), '')).toBeUndefined()
  expect(parseCopy(copyNameOf('a'), note('annals.example/a/1').slice(0, 40))).toBeUndefined()
})

test('a later generation is ahead whatever its size', () => {
  expect(isAhead({ generation: 2, size: 1 }, { generation: 1, size: 9 })).toBe(true)
  expect(isAhead({ generation: 1, size: 9 }, { generation: 1, size: 9 })).toBe(false)
  expect(isAhead({ generation: 1, size: 10 }, { generation: 1, size: 9 })).toBe(true)
})
