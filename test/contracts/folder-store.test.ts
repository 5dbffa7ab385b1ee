import { mkdir, mkdtemp, readdir, readFile, rm, truncate, utimes, writeFile, chmod } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createFolderStore } from '../../src/archive/stores/folder.js'
import { canMount, withSmallDisk } from '../support/small-disk.js'
import { all, archiveStoreContract, put, read, someBytes } from './archive-store.js'

archiveStoreContract(async () => {
  const folder = await mkdtemp(join(tmpdir(), 'annals-folder-store-'))
  return {
    open: (name) => createFolderStore({ folder: join(folder, name) }),
    async damage(name, path, change) {
      const file = join(folder, name, path)
      await writeFile(file, change(await readFile(file)))
    },
    everything: (name) => readdir(join(folder, name), { recursive: true }),
    close: () => rm(folder, { recursive: true, force: true }),
  }
})

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'annals-folder-store-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

test('what a writer that died left is no object, is seen by an erasure, and goes with its object or after a day', async () => {
  const root = join(folder, 'died')
  const store = createFolderStore({ folder: root })
  await put(store, 'a/b', Buffer.from('kept'))
  const left = '.b.00000000-0000-4000-8000-000000000000.tmp'
  await writeFile(join(root, 'a', left), 'half')
  await writeFile(join(root, 'a', '.DS_Store'), 'of a desktop')
  expect(await all(store.list(''))).toEqual([{ path: 'a/b', bytes: 4 }])
  const versions = await all(store.versions(''))
  expect(versions).toEqual([
    { path: 'a/b', bytes: 4, version: '' },
    { path: 'a/b', bytes: 4, version: left },
  ])
  const [, unfinished] = versions
  if (unfinished === undefined) throw new Error('two versions')
  expect(await read(await store.getVersion(unfinished))).toEqual(Buffer.from('half'))
  expect(await store.getVersion({ ...unfinished, version: '.DS_Store' })).toBeUndefined()
  expect(await store.getVersion({ ...unfinished, version: '../../secret' })).toBeUndefined()
  await store.delete('a/b')
  expect(await readdir(join(root, 'a'))).toEqual(['.DS_Store'])

  await writeFile(join(root, 'a', left), 'half')
  await put(createFolderStore({ folder: root }), 'a/c', Buffer.from('c'))
  expect(await readdir(join(root, 'a'))).toContain(left)
  const twoDaysAgo = new Date(Date.now() - 2 * 86_400_000)
  await utimes(join(root, 'a', left), twoDaysAgo, twoDaysAgo)
  await put(createFolderStore({ folder: root }), 'a/d', Buffer.from('d'))
  expect((await readdir(join(root, 'a'))).sort()).toEqual(['.DS_Store', 'c', 'd'])
})

test('a folder in whose place a file lies is a store that cannot be read, not one without the object', async () => {
  const root = join(folder, 'blocked')
  await mkdir(root)
  await writeFile(join(root, 'a'), '')
  const store = createFolderStore({ folder: root })
  const unavailable = { name: 'ArchiveStoreError', code: 'unavailable' }
  await expect(store.get('a/b')).rejects.toMatchObject(unavailable)
  await expect(store.head('a/b')).rejects.toMatchObject(unavailable)
  await expect(put(store, 'a/b', Buffer.from('x'))).rejects.toMatchObject(unavailable)
  expect(await store.get('a')).toBeDefined()
})

test('a file that is cut short while it is read ends in an error, and never like a whole one', async () => {
  const root = join(folder, 'cut')
  const store = createFolderStore({ folder: root })
  await put(store, 'a/b', someBytes(900_000))
  const stream = await store.get('a/b')
  await truncate(join(root, 'a/b'), 300_000)
  await expect(read(stream)).rejects.toMatchObject({ name: 'ArchiveStoreError', code: 'unavailable' })
})

test.each(['write', 'sync'])(
  'a disk that fails in a %s leaves nothing, and the next attempt writes',
  async (step) => {
    const root = join(folder, `failing-${step}`)
    let failing = true
    const store = createFolderStore({
      folder: root,
      onOpen(handle) {
        if (!failing) return
        const fail = () => Promise.reject(Object.assign(new Error('EIO'), { code: 'EIO', syscall: 'fsync' }))
        Object.assign(handle, step === 'write' ? { writeFile: fail } : { sync: fail })
      },
    })
    await expect(put(store, 'a/b', someBytes(9))).rejects.toMatchObject({ code: 'unavailable' })
    await expect(store.replace('a/c', someBytes(9))).rejects.toMatchObject({ code: 'unavailable' })
    expect(await readdir(join(root, 'a'))).toEqual([])
    failing = false
    expect(await put(store, 'a/b', someBytes(9))).toBe('written')
  },
)

test('a full disk is `full`, leaves nothing half, keeps what was there, and takes more once there is room', async () => {
  if (!canMount) {
    const store = createFolderStore({
      folder: join(folder, 'full'),
      onOpen(handle) {
        const full = Object.assign(new Error('ENOSPC'), { code: 'ENOSPC', syscall: 'write' })
        Object.assign(handle, { writeFile: () => Promise.reject(full) })
      },
    })
    await expect(put(store, 'a/big', someBytes(9))).rejects.toMatchObject({ code: 'full' })
    return
  }
  await withSmallDisk(1_048_576, async (disk) => {
    const root = disk.folder
    const store = createFolderStore({ folder: join(root, 'archive') })
    const kept = someBytes(400_000)
    await put(store, 'a/kept', kept)
    await expect(put(store, 'a/big', someBytes(900_000))).rejects.toMatchObject({ code: 'full' })
    await expect(store.replace('a/kept', someBytes(900_000))).rejects.toMatchObject({ code: 'full' })
    expect(await readdir(join(root, 'archive/a'))).toEqual(['kept'])
    expect((await read(await store.get('a/kept')))?.equals(kept)).toBe(true)
    await store.delete('a/kept')
    expect(await put(store, 'a/big', someBytes(900_000))).toBe('written')
  })
})

test('a folder that may not be written to is `read_only`, and can be read', async () => {
  const check = async (root: string, forbid: () => Promise<void> | void) => {
    const store = createFolderStore({ folder: root })
    await put(store, 'a/b', Buffer.from('kept'))
    await forbid()
    const refused = { code: 'read_only' }
    await expect(put(store, 'a/c', Buffer.from('x'))).rejects.toMatchObject(refused)
    await expect(put(store, 'b/c', Buffer.from('x'))).rejects.toMatchObject(refused)
    await expect(store.replace('a/b', Buffer.from('x'))).rejects.toMatchObject(refused)
    await expect(store.delete('a/b')).rejects.toMatchObject(refused)
    expect(await read(await store.get('a/b'))).toEqual(Buffer.from('kept'))
  }
  if (canMount) {
    await withSmallDisk(1_048_576, (disk) => check(join(disk.folder, 'archive'), () => disk.forbidWriting()))
    return
  }
  const root = join(folder, 'forbidden')
  await check(root, async () => {
    await chmod(join(root, 'a'), 0o500)
    await chmod(root, 0o500)
  })
  await chmod(root, 0o700)
  await chmod(join(root, 'a'), 0o700)
})
