import { resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
import { AddressError, parseStoreAddress, within } from '../../../src/archive/stores/address.js'
import { ConfigError, loadConfig } from '../../../src/config.js'

const s3 = {
  kind: 's3',
  bucket: 'annals-eu',
  prefix: '',
  endpoint: undefined,
  region: undefined,
  pathStyle: false,
  objectLock: false,
  sse: undefined,
  kmsKeyId: undefined,
}

test.each([
  ['file:/var/annals', { kind: 'folder', folder: '/var/annals' }],
  ['file:///var/annals', { kind: 'folder', folder: '/var/annals' }],
  ['file:///var/my%20annals', { kind: 'folder', folder: '/var/my annals' }],
  ['file:archive', { kind: 'folder', folder: resolve('archive') }],
  ['s3://annals-eu', s3],
  ['s3://annals-eu/', s3],
  ['s3://annals-eu/a/b.c_d/', { ...s3, prefix: 'a/b.c_d' }],
  ['s3://annals-eu?region=eu-central-1&objectLock=true', { ...s3, region: 'eu-central-1', objectLock: true }],
  ['s3://annals-eu?sse=AES256', { ...s3, sse: 'AES256' }],
  ['s3://annals-eu?sse=aws:kms&kmsKeyId=alias/annals', { ...s3, sse: 'aws:kms', kmsKeyId: 'alias/annals' }],
  [
    's3://annals-eu/x?endpoint=http://127.0.0.1:7070/',
    { ...s3, prefix: 'x', endpoint: 'http://127.0.0.1:7070', region: 'us-east-1', pathStyle: true },
  ],
  [
    's3://annals-eu?endpoint=https%3A%2F%2Fs3.example&region=here&pathStyle=false',
    { ...s3, endpoint: 'https://s3.example', region: 'here' },
  ],
])('%s is the address of a store', (text, address) => {
  expect(parseStoreAddress(text)).toEqual(address)
})

test.each([
  ['', /must start with file: or s3:/],
  ['/var/annals', /must start with/],
  ['https://bucket', /must start with/],
  ['file:', /names a folder/],
  ['file://host/folder', /names no host/],
  ['file:///a%2fb', /no usable file: address/],
  ['s3:bucket', /must be s3:\/\/bucket/],
  ['s3://', /s3:\/\/bucket/],
  ['s3://ab', /names no bucket/],
  ['s3://Annals', /names no bucket/],
  ['s3://key:secret@annals-eu', /holds no credentials/],
  ['s3://annals-eu:9000', /a bucket, a prefix and options only/],
  ['s3://annals-eu#x', /a bucket, a prefix and options only/],
  ['s3://annals-eu/a//b', /prefix/],
  ['s3://annals-eu/.a', /prefix/],
  ['s3://annals-eu?objectlock=true', /its options are/],
  ['s3://annals-eu?objectLock=yes', /objectLock is true or false/],
  ['s3://annals-eu?objectLock=true&objectLock=false', /objectLock has one value/],
  ['s3://annals-eu?region=', /region has one value/],
  ['s3://annals-eu?sse=none', /sse is AES256 or aws:kms/],
  ['s3://annals-eu?kmsKeyId=x', /kmsKeyId goes with/],
  ['s3://annals-eu?endpoint=s3.example', /endpoint is an http/],
  ['s3://annals-eu?endpoint=http://a:b@s3.example', /endpoint is an http/],
])('%s is none, and says why', (text, message) => {
  expect(() => parseStoreAddress(text)).toThrow(AddressError)
  expect(() => parseStoreAddress(text)).toThrow(message)
})

describe('in the environment', () => {
  const data = { ANNALS_DATA_DIR: '/data' }

  test('the archive, its checkpoint copies and the ledger lie under the data folder where nothing is said', () => {
    const config = loadConfig(data)
    expect(config.archive).toEqual({ kind: 'folder', folder: '/data/archive' })
    expect(config.checkpointCopies).toEqual({ kind: 'folder', folder: '/data/archive/checkpoints' })
    expect(config.ledger).toEqual({ kind: 'folder', folder: '/data/archive/ledger' })
  })

  test('they follow the archive, and the ledger may lie elsewhere', () => {
    const archive = 's3://annals-eu/prod?region=eu-central-1'
    const config = loadConfig({ ...data, ANNALS_ARCHIVE_URL: archive })
    expect(config.archive).toMatchObject({ kind: 's3', prefix: 'prod' })
    expect(config.checkpointCopies).toMatchObject({ prefix: 'prod/checkpoints', region: 'eu-central-1' })
    expect(config.ledger).toMatchObject({ prefix: 'prod/ledger' })
    const apart = loadConfig({ ...data, ANNALS_ARCHIVE_URL: archive, ANNALS_LEDGER_URL: 'file:/ledger' })
    expect(apart.ledger).toEqual({ kind: 'folder', folder: '/ledger' })
    expect(within({ ...s3, kind: 's3' }, 'ledger')).toMatchObject({ prefix: 'ledger' })
  })

  test('a region is in the address or in AWS_REGION, else the start stops', () => {
    const regionOf = (environment: Record<string, string>) => {
      const { archive } = loadConfig({ ANNALS_ARCHIVE_URL: 's3://annals-eu', ...environment })
      return archive.kind === 's3' ? archive.region : undefined
    }
    expect(regionOf({ AWS_REGION: 'eu-west-1' })).toBe('eu-west-1')
    const inAddress = { ANNALS_ARCHIVE_URL: 's3://annals-eu?region=eu-north-1', AWS_REGION: 'eu-west-1' }
    expect(regionOf(inAddress)).toBe('eu-north-1')
    expect(() => regionOf({})).toThrow(/ANNALS_ARCHIVE_URL: names no region/)
  })

  test('a bad one stops the start with its name and what is wrong with it', () => {
    const start = () => loadConfig({ ANNALS_ARCHIVE_URL: 's3://ab', ANNALS_LEDGER_URL: 'file://host/folder' })
    expect(start).toThrow(ConfigError)
    expect(start).toThrow(/ANNALS_ARCHIVE_URL: names no bucket.*\n.*ANNALS_LEDGER_URL: .*no host/)
  })
})
