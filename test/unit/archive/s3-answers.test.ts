/** What a real S3 server cannot be made to answer: a scripted one, and what was sent to it. */
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http'
import { Readable } from 'node:stream'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { parseStoreAddress } from '../../../src/archive/stores/address.js'
import { createS3Store } from '../../../src/archive/stores/s3.js'

interface Scripted {
  readonly status: number
  readonly body?: string
  readonly headers?: Record<string, string>
}

let server: Server
let seen: { method: string; url: string; headers: IncomingHttpHeaders; bytes: number }[]
let script: (method: string, url: string, times: number) => Scripted
let endpoint: string

const error = (status: number, code: string): Scripted => ({
  status,
  body: `<?xml version="1.0"?><Error><Code>${code}</Code><Message>secret/path</Message></Error>`,
})
const absent: Scripted = { status: 404 }
const isBucket = (url: string) => /^\/annals\/?(\?|$)/.test(url)

beforeEach(async () => {
  seen = []
  server = createServer((request, response) => {
    const { method = '', url = '', headers } = request
    let bytes = 0
    request.on('data', (chunk: Buffer) => (bytes += chunk.length))
    request.on('end', () => {
      const times = seen.filter((each) => each.method === method).length
      seen.push({ method, url, headers, bytes })
      const { status, body = '', headers: answered = {} } = script(method, url, times)
      response.writeHead(status, { 'content-length': Buffer.byteLength(body), ...answered })
      response.end(method === 'HEAD' ? '' : body)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('a TCP server has a TCP address')
  endpoint = `http://127.0.0.1:${String(address.port)}`
})
afterEach(
  () =>
    new Promise<void>((resolve) => {
      server.closeAllConnections()
      server.close(() => resolve())
    }),
)

function open(options = '') {
  const address = parseStoreAddress(`s3://annals/prod?endpoint=${endpoint}${options}`)
  if (address.kind !== 's3') throw new Error('an S3 address')
  const credentials = { accessKeyId: 'a', secretAccessKey: 'b' }
  return createS3Store({ ...address, credentials, limits: { backoffMs: 1, stallMs: 2_000 } })
}

/** SHA-256 of `abc` (FIPS 180-2). */
const sha256 = Buffer.from('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad', 'hex')
const abc = () => Readable.from([Buffer.from('abc')], { objectMode: false })
const announced = { sha256, bytes: 3 }

test('a write says that it creates, what its digest is, how long it is locked and how it is encrypted', async () => {
  const store = open('&objectLock=true&sse=aws:kms&kmsKeyId=alias/annals')
  script = (method, url) => (method === 'PUT' || isBucket(url) ? { status: 200 } : absent)
  await store.put('a/b', abc, { ...announced, lockUntil: new Date('2999-01-01T00:00:00Z') })
  const put = seen.find(({ method }) => method === 'PUT')
  expect(put).toMatchObject({ url: expect.stringMatching(/^\/annals\/prod\/a\/b/) as unknown, bytes: 3 })
  expect(put?.headers).toMatchObject({
    'if-none-match': '*',
    'content-length': '3',
    'x-amz-content-sha256': sha256.toString('hex'),
    'x-amz-checksum-sha256': sha256.toString('base64'),
    'x-amz-object-lock-mode': 'GOVERNANCE',
    'x-amz-object-lock-retain-until-date': '2999-01-01T00:00:00Z',
    'x-amz-server-side-encryption': 'aws:kms',
    'x-amz-server-side-encryption-aws-kms-key-id': 'alias/annals',
  })
})

const found = (answer: Scripted, times = Infinity) => {
  script = (method, url, before) => {
    if (method === 'PUT') return before < times ? answer : { status: 200 }
    return isBucket(url) ? { status: 200 } : absent
  }
}
const puts = () => seen.filter(({ method }) => method === 'PUT').length

test.each([
  ['SlowDown', 503],
  ['InternalError', 500],
  ['ConditionalRequestConflict', 409],
  ['RequestTimeout', 400],
])('%s is tried again', async (code, status) => {
  found(error(status, code), 2)
  expect(await open().put('a/b', abc, announced)).toBe('written')
  expect(puts()).toBe(3)
})

test.each([
  ['SlowDown', 503, 'unavailable', 3],
  ['InsufficientStorage', 507, 'full', 1],
  ['QuotaExceeded', 403, 'full', 1],
  ['XMinioStorageFull', 507, 'full', 1],
  ['AccessDenied', 403, 'read_only', 1],
  ['MethodNotAllowed', 405, 'read_only', 1],
  ['BadDigest', 400, 'mismatch', 1],
  ['NoSuchBucket', 404, 'unavailable', 3],
])(
  '%s, answered for ever, is its code after a bounded number of attempts',
  async (name, status, code, attempts) => {
    found(error(status, name))
    const failure = await open()
      .put('a/b', abc, announced)
      .catch((thrown: unknown) => thrown)
    expect(failure).toMatchObject({ name: 'ArchiveStoreError', code })
    expect(puts()).toBe(attempts)
    // The message may be logged; what the service said may not.
    expect(String(failure)).not.toContain('secret')
  },
)

test('bytes of another range than was asked for are no answer', async () => {
  script = () => ({ status: 200, body: 'the whole object' })
  await expect(open().get('a/b', { offset: 4, length: 5 })).rejects.toMatchObject({ code: 'unavailable' })
  script = () => ({ status: 206, body: 'the w', headers: { 'content-range': 'bytes 0-4/16' } })
  await expect(open().get('a/b', { offset: 4, length: 5 })).rejects.toMatchObject({ code: 'unavailable' })
})

test('a listing that never advances ends', async () => {
  const item = '<Version><Key>prod/a/b</Key><VersionId>1</VersionId><Size>3</Size></Version>'
  const marker = '<NextKeyMarker>prod/a/b</NextKeyMarker><NextVersionIdMarker>1</NextVersionIdMarker>'
  const body = `<?xml version="1.0"?><ListVersionsResult><IsTruncated>true</IsTruncated>${marker}${item}</ListVersionsResult>`
  script = () => ({ status: 200, body })
  const versions: unknown[] = []
  const listing = async () => {
    for await (const version of open().versions('')) versions.push(version)
  }
  await expect(listing()).rejects.toMatchObject({ code: 'unavailable' })
  expect(versions).toEqual([{ path: 'a/b', bytes: 3, version: '1' }])
})
