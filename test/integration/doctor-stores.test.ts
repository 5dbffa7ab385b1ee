/** What the doctor says of archives that do not do what the store relies on: on a real S3 server, and a careless one. */
import { ListObjectVersionsCommand, PutObjectLockConfigurationCommand } from '@aws-sdk/client-s3'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { parseStoreAddress, type StoreAddress } from '../../src/archive/stores/address.js'
import type { ProbeAnswer } from '../../src/archive/stores/s3-probe.js'
import { storeChecks } from '../../src/operations/store-checks.js'
import { absentVersitygw, startVersitygw, versitygwBinary, type Versitygw } from '../support/versitygw.js'

/** Every answer by its check, or the code of the failure. */
async function answersOf(address: StoreAddress): Promise<Record<string, ProbeAnswer>> {
  const { first, others, close } = storeChecks('archive', address)
  const answers: Record<string, ProbeAnswer> = {}
  for (const { name, run } of [first, ...others])
    answers[name] = await run().catch((error: unknown) => ({
      failed: String(Reflect.get(Object(error), 'code')),
    }))
  await close()
  return answers
}
const failed = (words: string) => ({ failed: expect.stringContaining(words) as string })
const warning = (words: string) => ({ warning: expect.stringContaining(words) as string })

test('a folder is tried for its second write, its permissions and its room, and nothing stays in it', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'annals-doctor-'))
  try {
    const address = { kind: 'folder', folder } as const
    expect(await answersOf(address)).toEqual({
      archive: 'folder: written, read back, deleted',
      'archive: second write': 'a second write is refused',
      'archive: room': expect.stringMatching(/^[\d.]+ GB free$/) as string,
    })
    await chmod(folder, 0o755)
    expect(await answersOf(address)).toMatchObject({ 'archive: room': warning('others on this machine') })
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})

test('a service that takes everything, and keeps it, is told from one that can be relied on', async () => {
  vi.stubEnv('AWS_ACCESS_KEY_ID', 'any')
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'any')
  const careless = createServer((request, response) => {
    request.resume().on('end', () => {
      if (request.method === 'PUT') response.setHeader('x-amz-version-id', 'v1')
      const listing = `<ListVersionsResult><Version><Key>${decodeURIComponent(
        new URL(request.url ?? '', 'http://s3').searchParams.get('prefix') ?? '',
      )}</Key><VersionId>v1</VersionId><Size>64</Size></Version></ListVersionsResult>`
      response.end(request.method === 'GET' ? listing : undefined)
    })
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => careless.once('listening', resolve))
  const at = careless.address()
  const port = at !== null && typeof at === 'object' ? at.port : 0
  try {
    const url = `s3://any?endpoint=http://127.0.0.1:${String(port)}&objectLock=true`
    const { archive: _, ...answers } = await answersOf(parseStoreAddress(url))
    expect(answers).toEqual({
      'archive: second write': failed('If-None-Match'),
      'archive: versions': failed('still listed'),
      'archive: object lock': failed('under lock could be deleted'),
    })
  } finally {
    careless.closeAllConnections()
    careless.close()
  }
})

const absent = versitygwBinary === undefined
if (absent) test('buckets are tried where versitygw is', (context) => context.skip(absentVersitygw))

describe.runIf(!absent)('of a bucket', () => {
  let s3: Versitygw
  beforeAll(async () => {
    s3 = await startVersitygw()
  })
  afterAll(() => s3.stop())

  const leftIn = async (Bucket: string) => {
    const { Versions = [], DeleteMarkers = [] } = await s3.client.send(
      new ListObjectVersionsCommand({ Bucket }),
    )
    return [...Versions, ...DeleteMarkers].map(({ Key }) => Key)
  }

  test('with versions and object lock, all of it is well, and nothing stays there', async () => {
    const answers = await answersOf(parseStoreAddress(await s3.createBucket('locked')))
    expect(answers).toEqual({
      archive: 's3: written, read back, deleted',
      'archive: second write': 'a second write is refused, and so are bytes that were not announced',
      'archive: versions': 'versions are kept, and each can be deleted',
      // The owner of a test's server may do everything, which is worth a word.
      'archive: object lock': warning('s3:BypassGovernanceRetention'),
    })
    expect(await leftIn('locked')).toEqual([])
  })

  test('without versions, it says what that means, and that a lock asked for is none', async () => {
    const url = await s3.createBucket('plain', 'plain')
    expect(await answersOf(parseStoreAddress(url))).toMatchObject({
      'archive: versions': warning('keeps no versions'),
      'archive: object lock': 'none, as the address says',
    })
    expect(await answersOf(parseStoreAddress(`${url}&objectLock=true`))).toMatchObject({
      'archive: versions': failed('keeps no versions'),
      'archive: object lock': failed('no object can be put under lock'),
    })
    expect(await leftIn('plain')).toEqual([])
  })

  test('that locks everything by default, it says that nothing could be erased', async () => {
    const url = await s3.createBucket('default')
    await s3.client.send(
      new PutObjectLockConfigurationCommand({
        Bucket: 'default',
        ObjectLockConfiguration: {
          ObjectLockEnabled: 'Enabled',
          Rule: { DefaultRetention: { Mode: 'GOVERNANCE', Days: 1 } },
        },
      }),
    )
    const answers = await answersOf(parseStoreAddress(url))
    expect(answers).toMatchObject({
      archive: failed('may not be deleted'),
      'archive: versions': failed('no default retention'),
      'archive: object lock': failed('default retention of the bucket'),
    })
  })
})
