/**
 * Entry bundles: C2SP tlog-tiles. The records behind one level 0 tile, each as its length in two bytes (big
 * endian) and its bytes, in leaf order. The path is `tile/entries/<index>[.p/<width>]` (tile.ts).
 *
 * An entry of no bytes stands for a record that is no longer there (its leaf hash still is): no record of Annals is
 * empty.
 *
 * Example: the records `a`, nothing and `bc` are `00 01 61  00 00  00 02 62 63`.
 */
import { LogError } from './errors.js'
import { tileWidth } from './tile.js'

/** The most bytes a record can have in a bundle. */
export const maxEntryBytes = 65_535

/**
 * @param entries 1 to 256 records
 * @throws LogError `wrong_size` for another number of them, `entry_too_large` for one above 65,535 bytes
 */
export function encodeEntryBundle(entries: readonly Uint8Array[]): Uint8Array {
  requireWidth(entries.length)
  let length = 0
  for (const entry of entries) {
    if (entry.length > maxEntryBytes)
      throw new LogError('entry_too_large', `an entry has at most ${maxEntryBytes} bytes`)
    length += 2 + entry.length
  }
  const bundle = new Uint8Array(length)
  let at = 0
  for (const entry of entries) {
    bundle[at] = entry.length >> 8
    bundle[at + 1] = entry.length & 0xff
    bundle.set(entry, at + 2)
    at += 2 + entry.length
  }
  return bundle
}

/**
 * The `width` entries of a bundle, as views on its memory.
 * @throws LogError `wrong_size` | `malformed_bundle` where it is cut short, or holds more
 */
export function decodeEntryBundle(bundle: Uint8Array, width: number): Uint8Array[] {
  requireWidth(width)
  const entries: Uint8Array[] = []
  let at = 0
  for (let i = 0; i < width; i++) {
    const high = bundle[at]
    const low = bundle[at + 1]
    if (high === undefined || low === undefined)
      throw new LogError('malformed_bundle', 'the bundle has too few entries')
    const end = at + 2 + high * 256 + low
    if (end > bundle.length) throw new LogError('malformed_bundle', 'an entry is cut short')
    entries.push(bundle.subarray(at + 2, end))
    at = end
  }
  if (at !== bundle.length)
    throw new LogError('malformed_bundle', 'the bundle has more bytes than its entries')
  return entries
}

function requireWidth(width: number): void {
  if (!Number.isInteger(width) || width < 1 || width > tileWidth) {
    throw new LogError('wrong_size', `a bundle has 1 to ${tileWidth} entries`)
  }
}
