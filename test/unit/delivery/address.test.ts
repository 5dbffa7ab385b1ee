import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { classifyAddress, hostOf, maxUrlLength, urlProblem } from '../../../src/delivery/address.js'

/** Addresses by what they are in the IANA special-purpose registries, not by what a library says of them. */
const never = [
  // "this network", link-local with the clouds' metadata, multicast, reserved, documentation, benchmarking, broadcast
  ['0.0.0.0', '0.1.2.3', '169.254.169.254', '169.254.0.1', '224.0.0.1', '239.255.255.255', '240.0.0.1'],
  [
    '255.255.255.255',
    '192.0.0.192',
    '192.0.2.1',
    '198.18.0.1',
    '198.19.255.255',
    '198.51.100.1',
    '203.0.113.1',
  ],
  // metadata that lies elsewhere
  ['168.63.129.16', '100.100.100.200', 'fd00:ec2::254', 'fd20:ce::254'],
  ['::', 'fe80::1', 'fe80::1%eth0', 'febf::1', 'fec0::1', 'ff02::1', 'ff0e::1', '100::1', '2001:db8::1'],
  // tunnels and translations into whatever they embed
  [
    '2002:7f00:1::',
    '2002:0a00:1::',
    '2001:0:1::1',
    '64:ff9b:1::7f00:1',
    '::127.0.0.1',
    '::8.8.8.8',
    '::ffff:0:127.0.0.1',
  ],
  // not routed at all, and a zone on what is
  ['4000::1', '5f00::1', '3fff::1%eth0', '2606:4700::1111%1'],
  ['::ffff:169.254.169.254', '::ffff:0.0.0.0', '64:ff9b::a9fe:a9fe'],
].flat()
const inside = [
  [
    '127.0.0.1',
    '127.255.255.254',
    '10.0.0.1',
    '10.255.255.255',
    '172.16.0.1',
    '172.31.255.255',
    '192.168.0.1',
  ],
  ['100.64.0.1', '100.127.255.255', '::1', 'fc00::1', 'fdff::1'],
  ['::ffff:127.0.0.1', '::ffff:7f00:1', '::ffff:10.1.2.3', '64:ff9b::7f00:1', '64:ff9b::192.168.0.1'],
].flat()
const outside = [
  '1.1.1.1',
  '8.8.8.8',
  '9.255.255.255',
  '11.0.0.0',
  '172.15.255.255',
  '172.32.0.0',
  '192.167.255.255',
  '100.63.255.255',
  '100.128.0.0',
  '128.0.0.1',
  '223.255.255.255',
  '2606:4700::1111',
  '2a00:1450::1',
  '::ffff:8.8.8.8',
  '64:ff9b::808:808',
]

test.each(never)('%s is never called', (address) => {
  expect(classifyAddress(address)).toBe('never')
})
test.each(inside)('%s lies inside a network', (address) => {
  expect(classifyAddress(address)).toBe('private')
})
test.each(outside)('%s is a public address', (address) => {
  expect(classifyAddress(address)).toBe('public')
})

test.each([
  '0x7f.0.0.1',
  '0177.0.0.1',
  '010.0.0.1',
  '2130706433',
  '127.1',
  '8.8.8',
  '8.8.8.8 ',
  '[::1]',
  '',
  'localhost',
  '8.8.8.8/8',
])('what only a lenient parser takes for an address is none: %s', (text) => {
  expect(classifyAddress(text)).toBe('never')
})

describe('every address of a range is in the class of its range', () => {
  const byte = fc.integer({ min: 0, max: 255 })
  const word = fc.integer({ min: 0, max: 0xffff }).map((value) => value.toString(16))
  const dotted = (...parts: readonly number[]) => parts.join('.')
  test('RFC 1918, loopback and 100.64/10, in each of the forms that lead there', () => {
    const privateAddress = fc.oneof(
      fc.tuple(byte, byte, byte).map(([b, c, d]) => dotted(10, b, c, d)),
      fc.tuple(byte, byte, byte).map(([b, c, d]) => dotted(127, b, c, d)),
      fc.tuple(byte, byte, byte).map(([b, c, d]) => dotted(172, 16 + (b % 16), c, d)),
      fc.tuple(byte, byte).map(([c, d]) => dotted(192, 168, c, d)),
      fc
        .tuple(byte, byte, byte)
        .filter(([b, c, d]) => dotted(100, 64 + (b % 64), c, d) !== '100.100.100.200')
        .map(([b, c, d]) => dotted(100, 64 + (b % 64), c, d)),
    )
    fc.assert(
      fc.property(privateAddress, fc.constantFrom('', '::ffff:', '64:ff9b::'), (address, prefix) => {
        expect(classifyAddress(prefix + address)).toBe('private')
      }),
    )
  })
  test('unique local is inside, link-local and multicast never; nothing outside 2000::/3 is public', () => {
    const rest = fc.array(word, { minLength: 7, maxLength: 7 }).map((words) => words.join(':'))
    const first = (from: number, to: number) =>
      fc.integer({ min: from, max: to }).map((value) => value.toString(16))
    fc.assert(
      fc.property(first(0xfc00, 0xfdff), rest, (head, tail) => {
        expect(classifyAddress(`${head}:${tail}`)).toBe('private')
      }),
    )
    fc.assert(
      fc.property(fc.oneof(first(0xfe80, 0xfebf), first(0xff00, 0xffff)), rest, (head, tail) => {
        expect(classifyAddress(`${head}:${tail}`)).toBe('never')
      }),
    )
    fc.assert(
      fc.property(fc.oneof(first(0x65, 0x1fff), first(0x4000, 0xfbff)), rest, (head, tail) => {
        expect(classifyAddress(`${head}:${tail}`)).toBe('never')
      }),
    )
  })
})

const strict = { allowPrivate: false }
const lenient = { allowPrivate: true }

test.each([
  // The encodings that hide an address: the URL standard makes each the same four bytes.
  'https://2130706433/',
  'https://0x7f000001/',
  'https://0177.0.0.1/',
  'https://0x7f.1/',
  'https://127.1/',
  'https://127.0.0.1./',
  'https://%31%32%37.0.0.1/',
  'https://①②⑦.⓪.⓪.①/',
  'https://[::ffff:127.0.0.1]/',
  'https://[::ffff:7f00:1]/',
  'https://[0:0:0:0:0:0:0:1]/',
  'https://[64:ff9b::7f00:1]/',
  'https://10.0.0.1:8443/',
  'http://127.0.0.1/',
])('%s is refused when it is named, and may be called where the operator allows it', (url) => {
  expect(urlProblem(url, strict)).toBe('not_allowed')
  expect(urlProblem(url, lenient)).toBeUndefined()
})

test.each([
  'https://169.254.169.254/latest/meta-data',
  'https://[fd00:ec2::254]/',
  'https://0/',
  'https://0.0.0.0/',
  'https://[::]/',
  'https://[2002:7f00:1::]/',
  'http://8.8.8.8/',
  'https://user@recipient.example/',
  'https://user:password@recipient.example/',
  'https://:password@recipient.example/',
])('%s is refused whatever the operator allows', (url) => {
  expect(urlProblem(url, strict)).toBe('not_allowed')
  expect(urlProblem(url, lenient)).toBe('not_allowed')
})

test.each([
  '',
  'recipient.example',
  '//recipient.example/hook',
  'ftp://recipient.example/',
  'file:///etc/passwd',
  'gopher://127.0.0.1:25/',
  'javascript:alert(1)',
  'https://',
  'https://[fe80::1%25eth0]/',
  'https://1.2.3.4.5/',
  'https://256.256.256.256/',
  `https://recipient.example/${'a'.repeat(maxUrlLength)}`,
])('%s is no address of a webhook', (url) => {
  expect(urlProblem(url, lenient)).toBe('malformed_value')
})

test('a public name over https may be named, with a port, a path and a query', () => {
  expect(urlProblem('https://hooks.recipient.example:8443/annals?tenant=7', strict)).toBeUndefined()
  expect(urlProblem('http://hooks.recipient.example/', strict)).toBe('not_allowed')
})

test('the host of a URL is without brackets, and without the dot of an absolute name', () => {
  expect(hostOf(new URL('https://[2606:4700::1]/'))).toBe('2606:4700::1')
  expect(hostOf(new URL('https://Recipient.Example./'))).toBe('recipient.example')
})
