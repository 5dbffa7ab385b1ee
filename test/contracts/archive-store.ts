/** What every archive store must do: run by a folder and by a real S3 server. */
import { hash } from 'node:crypto'
import { Readable } from 'node:stream'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ArchiveStore, PutOptions, StoredObject } from '../../src/archive/stores/contract.js'

/** Somewhere to keep archives. */
export interface StorePlace {
  /** A store as one more process would open it; `name` apart from all others. */
  open(name: string): ArchiveStore
  /** Changes the kept bytes of an object by hand. */
  damage(name: string, path: string, change: (bytes: Buffer) => Buffer): Promise<void>
  /** Names of all that lies there, whatever it is. */
  everything(name: string): Promise<string[]>
  close(): Promise<void>
}

export const announce = (bytes: Uint8Array): PutOptions => ({
  sha256: Buffer.from(hash('sha256', bytes), 'hex'),
  bytes: bytes.length,
})

/** In chunks of `size` bytes. */
export const chunked = (bytes: Buffer, size = 65_536) =>
  Readable.from(
    Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) =>
      bytes.subarray(index * size, (index + 1) * size),
    ),
    { objectMode: false },
  )

export const put = (store: ArchiveStore, path: string, bytes: Buffer, lockUntil?: Date) =>
  store.put(path, () => chunked(bytes), { ...announce(bytes), lockUntil })

export async function read(stream: Readable | undefined): Promise<Buffer | undefined> {
  if (stream === undefined) return undefined
  const chunks: Uint8Array[] = []
  for await (const chunk of stream) chunks.push(chunk as Uint8Array)
  return Buffer.concat(chunks)
}

export async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = []
  for await (const item of items) found.push(item)
  return found
}

const paths = async (items: AsyncIterable<StoredObject>) => (await all(items)).map(({ path }) => path)

/** Bytes that are not the same anywhere. */
export function someBytes(length: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(length)
  let state = seed
  for (let index = 0; index < length; index += 1) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    bytes[index] = state >>> 24
  }
  return bytes
}

export function archiveStoreContract(openPlace: () => Promise<StorePlace>): void {
  let place: StorePlace
  beforeAll(async () => {
    place = await openPlace()
  })
  afterAll(() => place.close())

  test.each([0, 1, 65_536, 3_000_001])(
    'an object of %s bytes reads back as it was written',
    async (length) => {
      const store = place.open('whole')
      const path = `org_a/1/whole-${String(length)}.gz`
      const bytes = someBytes(length)
      expect(await store.head(path)).toBeUndefined()
      expect(await store.get(path)).toBeUndefined()
      expect(await put(store, path, bytes)).toBe('written')
      expect(await store.head(path)).toEqual({ path, bytes: length })
      expect((await read(await store.get(path)))?.equals(bytes)).toBe(true)
    },
  )

  test('the same bytes again change nothing, other bytes are refused, and what was kept stays', async () => {
    const store = place.open('again')
    const kept = someBytes(100_000)
    expect(await put(store, 'a/b', kept)).toBe('written')
    expect(await put(store, 'a/b', kept)).toBe('already')
    expect(await put(place.open('again'), 'a/b', kept)).toBe('already')
    for (const other of [someBytes(100_000, 2), kept.subarray(1), Buffer.concat([kept, kept])]) {
      await expect(put(store, 'a/b', other)).rejects.toMatchObject({ code: 'exists' })
    }
    expect((await read(await store.get('a/b')))?.equals(kept)).toBe(true)
    expect(await all(store.versions(''))).toHaveLength(1)
  })

  test('of many writers at once of the same bytes each succeeds, and one object stands', async () => {
    const bytes = someBytes(300_000)
    const results = await Promise.all(Array.from({ length: 6 }, () => put(place.open('same'), 'a/b', bytes)))
    expect(results.filter((result) => result === 'written').length).toBeGreaterThan(0)
    expect(await all(place.open('same').versions(''))).toMatchObject([{ path: 'a/b', bytes: 300_000 }])
    expect((await read(await place.open('same').get('a/b')))?.equals(bytes)).toBe(true)
  })

  test('of many writers at once of other bytes one wins, whole', async () => {
    const candidates = Array.from({ length: 6 }, (_, index) => someBytes(200_000, index + 1))
    const settled = await Promise.allSettled(
      candidates.map((bytes) => put(place.open('other'), 'a/b', bytes)),
    )
    const won = settled.flatMap((result, index) => (result.status === 'fulfilled' ? [index] : []))
    expect(won).toHaveLength(1)
    for (const result of settled) {
      if (result.status === 'rejected') expect(result.reason).toMatchObject({ code: 'exists' })
    }
    const kept = await read(await place.open('other').get('a/b'))
    expect(kept?.equals(candidates[won[0] ?? -1] ?? Buffer.alloc(0))).toBe(true)
    expect(await all(place.open('other').versions(''))).toHaveLength(1)
  })

  test('a source that breaks off leaves nothing, and its own failure is what is thrown', async () => {
    const store = place.open('broken')
    const bytes = someBytes(500_000)
    let opened = 0
    const broken = () => {
      opened += 1
      return Readable.from(
        (function* () {
          yield bytes.subarray(0, 250_000)
          throw new RangeError('the disk of the writer')
        })(),
      )
    }
    await expect(store.put('a/b', broken, announce(bytes))).rejects.toThrow('the disk of the writer')
    expect(opened).toBe(1)
    expect(await store.head('a/b')).toBeUndefined()
    expect(await all(store.versions(''))).toEqual([])
    expect((await place.everything('broken')).filter((name) => name.includes('b'))).toEqual([])
    expect(await put(store, 'a/b', bytes)).toBe('written')
  })

  test('bytes that are not those announced are refused, and nothing of them is kept', async () => {
    const store = place.open('announced')
    const bytes = someBytes(200_000)
    const right = announce(bytes)
    for (const wrong of [
      { ...right, sha256: announce(someBytes(200_000, 3)).sha256 },
      { ...right, bytes: 199_999 },
      { ...right, bytes: 200_001 },
      { ...right, bytes: 0 },
      announce(Buffer.alloc(0)),
    ]) {
      await expect(store.put('a/b', () => chunked(bytes), wrong)).rejects.toMatchObject({ code: 'mismatch' })
      expect(await all(store.versions(''))).toEqual([])
    }
    expect(await put(store, 'a/b', bytes)).toBe('written')
  })

  test('a range is those bytes; beyond the end there are none', async () => {
    const store = place.open('ranges')
    const bytes = someBytes(300_000)
    await put(store, 'a/b', bytes)
    for (const [offset, length] of [
      [0, 1],
      [0, 300_000],
      [1, 65_536],
      [299_999, 1],
      [299_990, 500],
      [100_000, 0],
    ] as const) {
      const part = await read(await store.get('a/b', { offset, length }))
      expect(
        part?.equals(bytes.subarray(offset, offset + length)),
        `${String(offset)}+${String(length)}`,
      ).toBe(true)
    }
    expect(await read(await store.get('a/b', { offset: 299_000 }))).toEqual(bytes.subarray(299_000))
    expect(await read(await store.get('a/b', { offset: 300_000 }))).toEqual(Buffer.alloc(0))
    expect(await read(await store.get('a/b', { offset: 900_000, length: 5 }))).toEqual(Buffer.alloc(0))
    expect(await store.get('a/none', { offset: 0, length: 5 })).toBeUndefined()
    expect(await store.get('a/none', { offset: 0, length: 0 })).toBeUndefined()
    await put(store, 'a/empty', Buffer.alloc(0))
    expect(await read(await store.get('a/empty', { offset: 0 }))).toEqual(Buffer.alloc(0))
  })

  test('a stream that nobody reads to its end holds nobody up', async () => {
    const store = place.open('unread')
    const bytes = someBytes(2_000_000)
    await put(store, 'a/b', bytes)
    for (let round = 0; round < 60; round += 1) {
      const stream = await store.get('a/b')
      if (round % 2 === 0) stream?.read(1)
      stream?.destroy()
    }
    expect((await read(await store.get('a/b')))?.equals(bytes)).toBe(true)
  })

  test('objects are listed by their paths, under the beginning of paths that was asked for', async () => {
    const store = place.open('lists')
    const written = [
      'A/1/x',
      'a-b/1/x',
      'a.b/1/x',
      'a/1/000000000000-000000000256.content.1.manifest',
      'a/1/000000000000-000000000256.records.manifest',
      'a/1/000000000256-000000000512.content.1.manifest',
      'a/10/000000000000-000000000256.records.manifest',
      'a/2/x',
      'a_b/1/x',
      'aa/1/x',
    ]
    for (const path of [...written].reverse()) await put(store, path, Buffer.from(path))
    expect(await paths(store.list(''))).toEqual(written)
    expect(await paths(store.list('a/'))).toEqual(written.filter((path) => path.startsWith('a/')))
    expect(await paths(store.list('a'))).toEqual(written.filter((path) => path.startsWith('a')))
    expect(await paths(store.list('a/1/0000'))).toEqual(written.slice(3, 6))
    expect(await paths(store.list('a/1/000000000256'))).toEqual(written.slice(5, 6))
    expect(await paths(store.list('a/1/000000000256-000000000512.content.1.manifest'))).toHaveLength(1)
    expect(await paths(store.list('b/'))).toEqual([])
    expect(await paths(store.versions('a/'))).toEqual(await paths(store.list('a/')))
    expect((await all(store.list('A/')))[0]).toEqual({ path: 'A/1/x', bytes: 5 })
    const [first] = await paths(store.list(''))
    for await (const { path } of store.list('')) {
      expect(path).toBe(first)
      break
    }
  })

  test('what is deleted is gone, again and again, and nothing else is', async () => {
    const store = place.open('deletes')
    for (const path of ['a/b', 'a/b.c', 'a/bc']) await put(store, path, Buffer.from(path))
    await store.delete('a/b')
    await store.delete('a/b')
    await store.delete('none/at/all')
    expect(await paths(store.versions(''))).toEqual(['a/b.c', 'a/bc'])
    expect(await store.get('a/b')).toBeUndefined()
    expect(await put(store, 'a/b', Buffer.from('other bytes'))).toBe('written')
  })

  test('a version is read by its name, and is absent once it is gone', async () => {
    const store = place.open('versions')
    await put(store, 'a/b', Buffer.from('kept'))
    const [version] = await all(store.versions('a/b'))
    if (version === undefined) throw new Error('an object has a version')
    expect(version).toMatchObject({ path: 'a/b', bytes: 4 })
    expect(await read(await store.getVersion(version))).toEqual(Buffer.from('kept'))
    await store.delete('a/b')
    expect(await store.getVersion(version)).toBeUndefined()
  })

  test('a small object is replaced whole, also by many at once, and no older version stays', async () => {
    const store = place.open('replaced')
    const notes = Array.from({ length: 12 }, (_, index) => someBytes(5_000, index + 1))
    await store.replace('ab/c', Buffer.from('first'))
    await Promise.all(notes.map((note) => place.open('replaced').replace('ab/c', note)))
    const kept = await read(await store.get('ab/c'))
    expect(notes.some((note) => kept?.equals(note))).toBe(true)
    await store.replace('ab/c', Buffer.from('last'))
    expect(await read(await store.get('ab/c'))).toEqual(Buffer.from('last'))
    expect(await all(store.versions(''))).toMatchObject([{ path: 'ab/c', bytes: 4 }])
  })

  test('bytes that were altered or cut short by hand are noticed by whoever hashes, and by a second write', async () => {
    const store = place.open('damaged')
    const bytes = someBytes(100_000)
    for (const [path, change] of [
      ['a/altered', (kept: Buffer) => Buffer.concat([kept.subarray(0, -1), Buffer.from([0xff])])],
      ['a/short', (kept: Buffer) => kept.subarray(0, 50_000)],
    ] as const) {
      await put(store, path, bytes)
      await place.damage('damaged', path, change)
      const kept = await read(await store.get(path)).catch(() => Buffer.alloc(0))
      expect(announce(kept ?? Buffer.alloc(0)).sha256).not.toEqual(announce(bytes).sha256)
      await expect(put(store, path, bytes)).rejects.toMatchObject({ code: 'exists' })
    }
  })

  describe('a path outside of the rules', () => {
    test.each([
      '',
      '/a',
      'a/',
      'a//b',
      '.',
      '..',
      '../a',
      'a/../b',
      'a/..',
      '.a',
      'a/.b',
      '-a',
      'a b',
      'a\\b',
      'ä',
      'a\0b',
      'a%2fb',
      'a?versionId=1',
      'x'.repeat(201),
      'x/'.repeat(300) + 'x',
    ])('is refused, and nothing is tried: %j', async (path) => {
      const store = place.open('refused')
      const refused = { code: 'refused' }
      await expect(put(store, path, Buffer.from('x'))).rejects.toMatchObject(refused)
      await expect(store.get(path)).rejects.toMatchObject(refused)
      await expect(store.head(path)).rejects.toMatchObject(refused)
      await expect(store.delete(path)).rejects.toMatchObject(refused)
      await expect(store.replace(path, Buffer.from('x'))).rejects.toMatchObject(refused)
      await expect(store.getVersion({ path, bytes: 1, version: '' })).rejects.toMatchObject(refused)
      if (path !== '' && !path.endsWith('/'))
        await expect(all(store.list(path))).rejects.toMatchObject(refused)
      expect(await all(store.versions(''))).toEqual([])
    })

    test('is refused with a size or a digest that is none', async () => {
      const store = place.open('refused')
      for (const wrong of [
        { bytes: -1 },
        { bytes: 1.5 },
        { bytes: 6 * 1024 ** 3 },
        { sha256: Buffer.alloc(31) },
      ]) {
        const announced = { ...announce(Buffer.from('x')), ...wrong }
        await expect(store.put('a', () => chunked(Buffer.from('x')), announced)).rejects.toMatchObject({
          code: 'refused',
        })
      }
    })
  })
}
