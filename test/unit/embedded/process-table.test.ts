import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { identifyProcess, parseProc, stillRuns } from '../../../src/embedded/process-table.js'

const stat = (state: string, threads: number) =>
  `71 (a ) b) ${state} 1 71 71 0 -1 4194304 1 0 0 0 1 2 0 0 20 0 ${threads} 0 9876 0 0`

describe('the process table', () => {
  test('counts the fields behind a name that holds brackets and spaces', () => {
    expect(parseProc(71, stat('S', 4), 'mongod\0--dbpath\0/data\0')).toEqual({
      pid: 71,
      startedAt: '9876',
      command: 'mongod --dbpath /data',
    })
  })

  test.each([
    ['a zombie is gone', 'Z', 1, false],
    ['a zombie whose other threads still run is not', 'Z', 12, true],
    ['one that is ending, its memory given back, is not', 'R', 1, true],
  ])('%s', (_, state, threads, isThere) => {
    expect(parseProc(71, stat(state, threads), '') !== undefined).toBe(isThere)
  })

  test('what is cut short names no process', () => {
    expect(parseProc(71, '', '')).toBeUndefined()
    expect(parseProc(71, '71 (a) S 1', '')).toBeUndefined()
  })

  test.skipIf(!existsSync('/proc/self/stat'))(
    'a process that lost its command line, as one that ends does, still runs; another one does not',
    async () => {
      const forgetful = `process.stdin.once('data', () => { process.title = ''; process.stdout.write('.') })`
      const child = spawn(process.execPath, ['-e', forgetful], { stdio: ['pipe', 'pipe', 'ignore'] })
      await once(child, 'spawn')
      const identity = identifyProcess(child.pid ?? 0)
      if (identity === undefined) throw new Error('the child is not in the process table')
      expect(identity.command).toContain('process.title')
      child.stdin.write('.')
      await once(child.stdout, 'data')
      expect(identifyProcess(identity.pid)?.command).toBe('')
      expect(stillRuns(identity)).toBe(true)
      expect(stillRuns({ ...identity, startedAt: '1' })).toBe(false)
      child.kill('SIGKILL')
      await once(child, 'exit')
      expect(stillRuns(identity)).toBe(false)
    },
  )
})
