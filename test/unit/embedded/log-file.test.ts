import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { LogFile } from '../../../src/embedded/log-file.js'
import { withoutDocuments } from '../../../src/embedded/mongod-log.js'

describe('a log file', () => {
  let folder: string
  beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'annals-log-'))))
  afterEach(() => rmSync(folder, { recursive: true, force: true }))

  test('keeps whole lines, however the stream cuts them, and a last one without its line break', async () => {
    const log = new LogFile({ path: join(folder, 'logs', 'a.log') })
    await log.follow(Readable.from(['on', 'e\ntw', 'o\nthr', 'ee']))
    await log.close()
    expect(readFileSync(log.path, 'utf8')).toBe('one\ntwo\nthree\n')
    expect(log.tail()).toEqual(['one', 'two', 'three'])
    expect(statSync(log.path).mode & 0o777).toBe(0o600)
  })

  test('never takes more than twice its ceiling', async () => {
    const log = new LogFile({ path: join(folder, 'a.log'), maxBytes: 1_000 })
    for (let line = 0; line < 500; line += 1) await log.append([`line ${line} `.padEnd(99, '.')])
    await log.close()
    expect(statSync(log.path, { throwIfNoEntry: false })?.size ?? 0).toBeLessThanOrEqual(1_000)
    expect(statSync(`${log.path}.1`).size).toBeLessThanOrEqual(1_000)
    expect(log.tail()).toHaveLength(20)
  })

  test('goes on after it was closed, as it must for a process that is started again', async () => {
    const log = new LogFile({ path: join(folder, 'a.log') })
    await log.append(['first'])
    await log.close()
    await log.append(['second'])
    await log.close()
    expect(readFileSync(log.path, 'utf8')).toBe('first\nsecond\n')
  })
})

describe("mongod's log without documents", () => {
  const line = (c: string, attr: unknown) =>
    JSON.stringify({
      t: { $date: '2026-11-25T03:00:00Z' },
      s: 'W',
      c,
      id: 23802,
      ctx: 'conn2',
      msg: 'words',
      attr,
    })

  test('drops what a command quotes', () => {
    for (const component of ['COMMAND', 'QUERY', 'WRITE', 'INDEX', 'TXN', '-']) {
      const kept = withoutDocuments(line(component, { cmd: { q: { email: 'jane@acme.example' } } }))
      expect(kept).not.toContain('jane')
      expect(kept).toContain('"id":23802')
    }
  })

  test('keeps what tells why a server does not start', () => {
    const attr = { error: { codeName: 'SocketException', errmsg: 'Address already in use' } }
    expect(withoutDocuments(line('CONTROL', attr))).toContain('Address already in use')
  })

  test('keeps a line that is no JSON, cut to a bounded length, and drops an empty one', () => {
    expect(withoutDocuments('error while loading shared libraries: libcurl.so.4')).toContain('libcurl.so.4')
    expect(withoutDocuments('x'.repeat(10_000))).toHaveLength(500)
    expect(withoutDocuments('')).toBeUndefined()
  })
})
