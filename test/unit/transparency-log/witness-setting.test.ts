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
