import { expect, test } from 'vitest'
import { ConfigError, loadConfig } from '../../../src/config.js'

const key = 'witness.example/w1+0ad7d35e+BIqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c'
const logKey = 'annals.example/org/org_acme+559b0629+AQr6AAO9JSRElltSqFdyo+avQf0ZA8kUZydB50SUQrhU'

test('witnesses are verifier keys with addresses', () => {
  expect(loadConfig({}).witnesses).toEqual([])
  const { witnesses } = loadConfig({ ANNALS_WITNESS_URLS: ` ${key} https://witness.example/prefix/ ` })
  expect(witnesses).toMatchObject([
    { url: 'https://witness.example/prefix', key: { name: 'witness.example/w1', type: 'cosignature' } },
  ])
})

test.each([
  ['no address', key],
  ['no key', 'https://witness.example'],
  ['a key of a log', `${logKey} https://witness.example`],
  ['another kind of address', `${key} file:///etc`],
  ['something behind', `${key} https://witness.example more`],
  ['one twice', `${key} https://witness.example,${key} https://other.example`],
  ['an empty one', `${key} https://witness.example,`],
])('%s stops the start', (_what, setting) => {
  expect(() => loadConfig({ ANNALS_WITNESS_URLS: setting })).toThrow(ConfigError)
})

test.each([
  ['file:/var/annals', '/var/annals/checkpoints'],
  ['file:///var/annals', '/var/annals/checkpoints'],
  ['s3://bucket/prefix', '/data/archive/checkpoints'],
  [undefined, '/data/archive/checkpoints'],
])('with the archive at %s, copies of checkpoints lie in %s', (ANNALS_ARCHIVE_URL, folder) => {
  const environment = ANNALS_ARCHIVE_URL === undefined ? {} : { ANNALS_ARCHIVE_URL }
  expect(loadConfig({ ANNALS_DATA_DIR: '/data', ...environment }).checkpointCopiesFolder).toBe(folder)
})

test('a file address with a host stops the start', () => {
  expect(() => loadConfig({ ANNALS_ARCHIVE_URL: 'file://host/folder' })).toThrow(ConfigError)
})
