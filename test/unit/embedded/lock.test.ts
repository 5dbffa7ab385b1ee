import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { lockDataDirectory } from '../../../src/embedded/lock.js'
import { identifyProcess } from '../../../src/embedded/process-table.js'
import { randomFromFile } from '../../../src/embedded/random-file.js'

describe('the lock of a data folder', () => {
  let folder: string
  beforeEach(() => (folder = join(mkdtempSync(join(tmpdir(), 'annals-lock-')), 'data')))
  afterEach(() => rmSync(join(folder, '..'), { recursive: true, force: true }))

  test('refuses a second start, naming the process that holds it', () => {
    const lock = lockDataDirectory(folder)
    expect(() => lockDataDirectory(folder)).toThrow(new RegExp(`process ${process.pid}.*already runs on`))
    lock.release()
    lockDataDirectory(folder).release()
    expect(readdirSync(folder)).toEqual([])
  })

  test.each([
    ['a process that is gone', { pid: 2 ** 22 - 1, startedAt: '1' }],
    ['a process whose id now belongs to another', { pid: process.pid, startedAt: '1' }],
  ])('of %s is taken over', (_name, holder) => {
    lockDataDirectory(folder).release()
    writeFileSync(join(folder, 'up.lock'), JSON.stringify(holder))
    const lock = lockDataDirectory(folder)
    expect(() => lockDataDirectory(folder)).toThrow(/already runs on/)
    lock.release()
    expect(readdirSync(folder)).toEqual([])
  })

  test('that is unreadable is taken over', () => {
    lockDataDirectory(folder).release()
    writeFileSync(join(folder, 'up.lock'), '{"pid":')
    lockDataDirectory(folder).release()
  })

  test('a process is told by its start, not by its id alone', () => {
    const self = identifyProcess(process.pid)
    expect(self?.pid).toBe(process.pid)
    expect(self?.startedAt).toBe(identifyProcess(process.pid)?.startedAt)
    expect(self?.startedAt).not.toBe(identifyProcess(1)?.startedAt)
    expect(identifyProcess(2 ** 22 - 1)).toBeUndefined()
  })

  test('the secret beside it is made once', () => {
    lockDataDirectory(folder).release()
    const secret = randomFromFile(join(folder, 'secret'), 32)
    expect(secret).toMatch(/^[A-Za-z0-9_-]{43}$/)
    expect(randomFromFile(join(folder, 'secret'), 32)).toBe(secret)
  })
})
