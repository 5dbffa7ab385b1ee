import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { LineSplitter, parseLine, type RawLine } from '../../../src/events/ndjson.js'

function split(chunks: readonly Uint8Array[], maxBytes = 1_000) {
  const splitter = new LineSplitter(maxBytes)
  const lines: RawLine[] = chunks.flatMap((chunk) => [...splitter.push(Buffer.from(chunk))])
  const last = splitter.end()
  return last === undefined ? lines : [...lines, last]
}
const shown = (lines: readonly RawLine[]) => lines.map(({ number, content }) => [number, content?.toString()])

describe('lines', () => {
  test('are the same wherever the chunks end', () => {
    const text = fc.array(fc.constantFrom('a', '\n', '\r\n', ' ', 'ü', '🦆', '{"x":1}', '\r'), {
      maxLength: 60,
    })
    fc.assert(
      fc.property(text, fc.array(fc.nat(200), { maxLength: 20 }), (parts, cuts) => {
        const bytes = Buffer.from(parts.join(''))
        const places = [...new Set(cuts.map((cut) => Math.min(cut, bytes.length)))].sort((a, b) => a - b)
        const chunks = [0, ...places].map((from, at) => bytes.subarray(from, places[at] ?? bytes.length))
        const expected = parts
          .join('')
          .split('\n')
          .map((line, index) => [index + 1, line.endsWith('\r') ? line.slice(0, -1) : line] as const)
          .filter(([, line]) => !/^[ \t\r]*$/.test(line))
        expect(shown(split(chunks))).toEqual(expected)
      }),
    )
  })

  test('end where the next one starts, so that reading may go on there', () => {
    const bytes = Buffer.from('{"a":1}\r\n\nü\n{"b":2}')
    const all = split([bytes])
    const [first] = all
    expect(all.map(({ end }) => end)).toEqual([9, 13, bytes.length])
    const rest = new LineSplitter(100, { line: 1, offset: first?.end ?? 0 })
    const again = [...rest.push(bytes.subarray(first?.end)), rest.end()]
    expect(again.map((line) => [line?.number, line?.end])).toEqual(
      all.slice(1).map(({ number, end }) => [number, end]),
    )
  })

  test.each([
    [10, false],
    [11, true],
  ])('of %i bytes, with a limit of 10, is too long: %s', (length, tooLong) => {
    for (const end of ['\n', '\r\n', '']) {
      const [line] = split([Buffer.from(`${'x'.repeat(length)}${end}`)], 10)
      expect([line?.content === undefined, line?.number]).toEqual([tooLong, 1])
    }
  })

  test('that never end cost no memory beyond the limit, and the one behind them is read', () => {
    const endless = Array.from({ length: 1_000 }, () => Buffer.from('x'.repeat(1_000)))
    expect(shown(split([...endless, Buffer.from('\n{}\n')], 10))).toEqual([
      [1, undefined],
      [2, '{}'],
    ])
  })

  test('say why they are no JSON, and quote nothing', () => {
    const faults = [Buffer.from([0x22, 0xff, 0x22]), Buffer.from('{"a":')].flatMap((bytes) =>
      split([bytes]).map(parseLine),
    )
    expect(faults).toEqual([
      { ok: false, fault: 'not_utf8' },
      { ok: false, fault: 'not_json' },
    ])
  })
})
