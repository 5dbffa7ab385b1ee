import { ListObjectVersionsCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { parseStoreAddress } from '../../src/archive/stores/address.js'
import { createS3Store, type S3StoreOptions } from '../../src/archive/stores/s3.js'
import type { S3Limits } from '../../src/archive/stores/s3-limits.js'
import { createStoredCopies } from '../../src/transparency-log/checkpoint-copies/stored-copies.js'
import { canMount, withSmallDisk } from '../support/small-disk.js'
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.js'
import { absentVersitygw, startVersitygw, versitygwBinary, type Versitygw } from '../support/versitygw.js'
import { all, announce, archiveStoreContract, chunked, put, read, someBytes } from './archive-store.js'

function optionsOf(url: string, limits: Partial<S3Limits> = {}): S3StoreOptions {
  const address = parseStoreAddress(url)
  if (address.kind !== 's3') throw new Error('an S3 address')
  return { ...address, limits }
}

/** The store in a folder of the bucket, or of another service's with the same bytes. */
const openAt = (url: string, prefix: string, limits?: Partial<S3Limits>) =>
  createS3Store({ ...optionsOf(url, limits), prefix })

const absent = versitygwBinary === undefined
if (absent) test('S3 is tested where versitygw is', (context) => context.skip(absentVersitygw))

describe.runIf(!absent)('S3', () => {
  let s3: Versitygw
  let url: string
  beforeAll(async () => {
    s3 = await startVersitygw()
    url = await s3.createBucket('annals')
  })
  afterAll(() => s3.stop())

  describe.each(['with versions and object lock', 'plain'] as const)('in a bucket %s', (kind) => {
    archiveStoreContract(async () => {
      const bucket = kind === 'plain' ? 'plain' : 'versioned'
      const own = await s3.createBucket(bucket, kind === 'plain' ? 'plain' : undefined)
      return {
        open: (name) => openAt(own, `deployment/${name}`, { pageObjects: 3 }),
        async damage(name, path, change) {
          const file = join(s3.folder, bucket, 'deployment', name, path)
          await writeFile(file, change(await readFile(file)))
        },
        everything: (name) =>
          readdir(join(s3.folder, bucket, 'deployment', name), { recursive: true }).catch(() => []),
        close: () => Promise.resolve(),
      }
    })
  })

  const rawPut = async (Key: string, text: string) => {
    await s3.client.send(new PutObjectCommand({ Bucket: 'annals', Key, Body: text }))
  }
  const rawVersions = async (Prefix: string) => {
    const found = await s3.client.send(new ListObjectVersionsCommand({ Bucket: 'annals', Prefix }))
    return [...(found.Versions ?? []), ...(found.DeleteMarkers ?? [])].length
  }

  test('every version of an object is seen, read and deleted, whoever wrote it', async () => {
    const store = openAt(url, 'every')
    for (const text of ['one', 'two', 'three']) await rawPut('every/a/b', text)
    await rawPut('every/a/b.c', 'another')
    const versions = await all(store.versions('a/b'))
    expect(versions.map(({ path }) => path)).toEqual(['a/b', 'a/b', 'a/b', 'a/b.c'])
    const texts = await Promise.all(
      versions.map(async (each) => String(await read(await store.getVersion(each)))),
    )
    expect(texts.sort()).toEqual(['another', 'one', 'three', 'two'])
    await store.delete('a/b')
    expect(await rawVersions('every/a/b')).toBe(1)
    for (const { path, version, bytes } of versions.slice(0, 3)) {
      expect(await store.getVersion({ path, version, bytes })).toBeUndefined()
    }
  })

  test('what somebody else put into the bucket is no object of the store', async () => {
    const store = openAt(url, 'foreign')
    await rawPut('foreign/a folder/of a console', 'x')
    await rawPut('foreigner/a', 'x')
    await put(store, 'a', Buffer.from('ours'))
    expect(await all(store.list(''))).toEqual([{ path: 'a', bytes: 4 }])
    expect(await all(store.versions(''))).toMatchObject([{ path: 'a' }])
  })

  test('what is under lock cannot be deleted, and a lock is asked for only where the address says so', async () => {
    const store = openAt(url, 'locks')
    const until = new Date(Date.now() + 86_400_000)
    expect(await put(store, 'a/locked', Buffer.from('records'), until)).toBe('written')
    await put(store, 'a/past', Buffer.from('records'), new Date(Date.now() - 1_000))
    await put(store, 'a/free', Buffer.from('content'))
    await put(
      createS3Store({ ...optionsOf(url), prefix: 'locks', objectLock: false }),
      'a/off',
      Buffer.from('x'),
      until,
    )
    await expect(store.delete('a/locked')).rejects.toMatchObject({ code: 'locked' })
    // Until when is known before anybody tries.
    const seconds = (date: Date | undefined) => Math.floor((date?.getTime() ?? 0) / 1_000)
    expect(seconds((await store.head('a/locked'))?.lockedUntil)).toBe(seconds(until))
    expect(await store.head('a/free')).toEqual({ path: 'a/free', bytes: 7 })
    expect(await read(await store.get('a/locked'))).toEqual(Buffer.from('records'))
    for (const path of ['a/past', 'a/free', 'a/off']) await store.delete(path)
    expect(await all(store.versions(''))).toMatchObject([{ path: 'a/locked' }])
  })

  test('a bucket that is not there is no answer about an object', async () => {
    const store = openAt(url.replace('annals', 'another-bucket'), 'none')
    const unavailable = { name: 'ArchiveStoreError', code: 'unavailable' }
    await expect(store.get('a')).rejects.toMatchObject(unavailable)
    await expect(store.head('a')).rejects.toMatchObject(unavailable)
    await expect(all(store.list(''))).rejects.toMatchObject(unavailable)
    await expect(put(store, 'a', Buffer.from('x'))).rejects.toMatchObject(unavailable)
  })

  test('a wrong secret is refused for writing, and is no answer for reading', async () => {
    const credentials = { accessKeyId: s3.credentials.accessKeyId, secretAccessKey: 'another' }
    const store = createS3Store({ ...optionsOf(url), prefix: 'wrong', credentials })
    await expect(store.replace('a', Buffer.from('x'))).rejects.toMatchObject({ code: 'read_only' })
    await expect(store.get('a')).rejects.toMatchObject({ code: 'unavailable' })
    await expect(store.delete('a')).rejects.toMatchObject({ code: 'read_only' })
  })

  test('a service that may only be read is `read_only` for writing, and can be read', async () => {
    await put(openAt(url, 'closed'), 'a/b', Buffer.from('kept'))
    const closed = await startVersitygw({ readOnly: s3 })
    try {
      const store = openAt(url.replace(s3.endpoint, closed.endpoint), 'closed')
      await expect(put(store, 'a/c', Buffer.from('x'))).rejects.toMatchObject({ code: 'read_only' })
      await expect(store.replace('a/b', Buffer.from('x'))).rejects.toMatchObject({ code: 'read_only' })
      await expect(store.delete('a/b')).rejects.toMatchObject({ code: 'read_only' })
      expect(await read(await store.get('a/b'))).toEqual(Buffer.from('kept'))
    } finally {
      await closed.stop()
    }
  })

  test.runIf(canMount)('a service whose disk is full is `full`, and keeps nothing half', () =>
    withSmallDisk(4 * 1_048_576, async ({ folder }) => {
      const small = await startVersitygw({ within: folder })
      try {
        const store = createS3Store(optionsOf(await small.createBucket('annals')))
        await put(store, 'a/kept', someBytes(1_000_000))
        await expect(put(store, 'a/big', someBytes(4_000_000))).rejects.toMatchObject({ code: 'full' })
        expect(await all(store.versions(''))).toMatchObject([{ path: 'a/kept' }])
        await store.delete('a/kept')
        expect(await put(store, 'a/big', someBytes(2_500_000))).toBe('written')
      } finally {
        await small.stop()
      }
    }),
  )

  test('checkpoint copies lie in a bucket as in a folder, and keep no older version', async () => {
    const store = openAt(url, 'copies')
    const copies = createStoredCopies(store)
    expect(await copies.read('anchor')).toBeUndefined()
    for (const note of ['one\n\n', 'two\n\n']) await copies.write('anchor', note)
    await copies.write('org/a', 'of a\n')
    expect(await copies.read('anchor')).toBe('two\n\n')
    expect((await all(copies.names())).sort()).toEqual(['anchor', 'org/a'])
    await copies.remove('org/a')
    expect(await copies.read('org/a')).toBeUndefined()
    expect(await all(store.versions(''))).toHaveLength(1)
    const [kept] = await all(store.list(''))
    await rawPut(`copies/${kept?.path ?? ''}`, 'not whole')
    expect(await copies.read('anchor')).toBe('')
  })

  describe('over a network that fails', () => {
    let proxy: TcpProxy
    const impatient = { stallMs: 400, connectMs: 400, attempts: 2, backoffMs: 1 }
    const through = (name: string, limits: Partial<S3Limits> = impatient) =>
      openAt(url.replace(`:${String(s3.port)}`, `:${String(proxy.port)}`), name, limits)
    const bytes = someBytes(2_000_000)

    beforeAll(async () => {
      proxy = await startTcpProxy(s3.port)
    })
    afterAll(() => proxy.close())
    afterEach(() => proxy.plan(undefined))

    test('an upload that breaks off is sent again, from a source opened anew', async () => {
      proxy.plan({ direction: 'up', afterBytes: 500_000, action: 'cut', times: 1 })
      let opened = 0
      const source = () => {
        opened += 1
        return chunked(bytes)
      }
      expect(await through('cut-once').put('a/b', source, announce(bytes))).toBe('written')
      expect([opened, proxy.struck]).toEqual([2, 1])
      expect((await read(await openAt(url, 'cut-once').get('a/b')))?.equals(bytes)).toBe(true)
      expect(await all(openAt(url, 'cut-once').versions(''))).toHaveLength(1)
    })

    test.each(['cut', 'freeze'] as const)(
      'uploads that all end in a %s are `unavailable`, and leave nothing',
      async (action) => {
        proxy.plan({ direction: 'up', afterBytes: 500_000, action })
        const name = `always-${action}`
        await expect(put(through(name), 'a/b', bytes)).rejects.toMatchObject({ code: 'unavailable' })
        expect(proxy.struck).toBe(2)
        expect(await all(openAt(url, name).versions(''))).toEqual([])
        proxy.plan(undefined)
        expect(await put(through(name), 'a/b', bytes)).toBe('written')
      },
    )

    test('an upload that was kept but never answered is found to be there', async () => {
      // The whole of it goes up; what comes down, beyond the answer to the first look, never arrives.
      proxy.plan({ direction: 'up', afterBytes: bytes.length, action: 'freeze', times: 1 })
      const store = through('unanswered')
      expect(['written', 'already']).toContain(await put(store, 'a/b', bytes))
      expect(await all(openAt(url, 'unanswered').versions(''))).toMatchObject([
        { path: 'a/b', bytes: bytes.length },
      ])
      expect(proxy.struck).toBe(1)
    })

    test.each(['cut', 'freeze'] as const)(
      'a download that ends in a %s is destroyed with an error, and never ended',
      async (action) => {
        const name = `download-${action}`
        await put(openAt(url, name), 'a/b', bytes)
        const store = through(name)
        proxy.plan({ direction: 'down', afterBytes: 600_000, action })
        const stream = await store.get('a/b')
        await expect(read(stream)).rejects.toMatchObject({ name: 'ArchiveStoreError', code: 'unavailable' })
        expect(proxy.struck).toBe(1)
        proxy.plan(undefined)
        expect((await read(await store.get('a/b')))?.equals(bytes)).toBe(true)
      },
    )

    test('a service that accepts connections and says nothing is `unavailable` for every operation', async () => {
      proxy.plan({ direction: 'up', afterBytes: 0, action: 'freeze' })
      const store = through('silent')
      const unavailable = { code: 'unavailable' }
      await Promise.all([
        expect(put(store, 'a', Buffer.from('x'))).rejects.toMatchObject(unavailable),
        expect(store.get('a')).rejects.toMatchObject(unavailable),
        expect(store.head('a')).rejects.toMatchObject(unavailable),
        expect(store.delete('a')).rejects.toMatchObject(unavailable),
        expect(store.replace('a', Buffer.from('x'))).rejects.toMatchObject(unavailable),
        expect(all(store.list(''))).rejects.toMatchObject(unavailable),
        expect(all(store.versions(''))).rejects.toMatchObject(unavailable),
      ])
    })

    test('a service that is not there is `unavailable`', async () => {
      const gone = await startTcpProxy(s3.port)
      await gone.close()
      const store = openAt(url.replace(`:${String(s3.port)}`, `:${String(gone.port)}`), 'gone', impatient)
      await expect(put(store, 'a', Buffer.from('x'))).rejects.toMatchObject({ code: 'unavailable' })
      await expect(store.get('a')).rejects.toMatchObject({ code: 'unavailable' })
      await expect(all(store.list(''))).rejects.toMatchObject({ code: 'unavailable' })
    })
  })
})
