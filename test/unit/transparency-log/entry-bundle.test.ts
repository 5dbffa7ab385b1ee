import { describe, expect, it } from 'vitest'
import { decodeEntryBundle, encodeEntryBundle } from '../../../src/transparency-log/entry-bundle.js'
import { utf8 } from '../../../src/transparency-log/encoding.js'
import { codeOf, fromHex, hex } from './support.js'

const none = new Uint8Array()
const full = new Uint8Array(65_535).fill(7)

describe('an entry bundle', () => {
  it.each([
    ['one entry of no bytes', [none]],
    ['entries of no bytes among others', [none, utf8('a'), none, none, utf8('bc'), none]],
    ['one entry of 65,535 bytes', [full]],
    ['the largest bundle', Array.from({ length: 256 }, () => full)],
    ['lengths across a byte', [new Uint8Array(255), new Uint8Array(256), new Uint8Array(257)]],
  ])('of %s is read as it was written', (_, entries) => {
    const read = decodeEntryBundle(encodeEntryBundle(entries), entries.length)
    expect(read.map((entry) => entry.length)).toEqual(entries.map((entry) => entry.length))
    expect(read.every((entry, i) => Buffer.compare(entry, entries[i] ?? full) === 0)).toBe(true)
  })

  it('is the bytes that the module comment shows', () => {
    const bundle = encodeEntryBundle([utf8('a'), none, utf8('bc')])
    expect(hex(bundle)).toBe('000161' + '0000' + '00026263')
  })

  it('does not hold an entry of 65,536 bytes', () => {
    expect(codeOf(() => encodeEntryBundle([new Uint8Array(65_536)]))).toBe('entry_too_large')
  })

  it.each([
    ['nothing', '', 1],
    ['half a length', '00', 1],
    ['an entry cut short', '000261', 1],
    ['a length of 65,535 and no bytes', 'ffff', 1],
    ['one entry of two', '000161', 2],
    ['two entries of one', '000161000162', 1],
    ['a byte too many', '00016100', 1],
  ])('that is %s is refused', (_, bytes, width) => {
    expect(codeOf(() => decodeEntryBundle(fromHex(bytes), width))).toBe('malformed_bundle')
  })

  it.each([0, 257, -1, 1.5, Number.NaN])('has not %s entries', (width) => {
    expect(codeOf(() => decodeEntryBundle(none, width))).toBe('wrong_size')
    if (width === 0 || width === 257) {
      const entries = Array.from({ length: width }, () => none)
      expect(codeOf(() => encodeEntryBundle(entries))).toBe('wrong_size')
    }
  })
})
