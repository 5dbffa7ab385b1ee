/** What the command does where nobody reads what it prints. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, openSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const cli = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url))

test.each([
  ['a result that nobody reads', ['verify', '--help'], 0],
  ['an error that nobody reads', ['verify', '--no-such-option'], 2],
] as const)('%s changes no exit code and shows no trace', async (_, args, exitCode) => {
  const child = spawn(process.execPath, [cli, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  let shown = ''
  const [unread, read] = exitCode === 0 ? [child.stdout, child.stderr] : [child.stderr, child.stdout]
  unread.destroy()
  read.setEncoding('utf8').on('data', (text: string) => (shown += text))
  expect(await once(child, 'close')).toEqual([exitCode, null])
  expect(shown).toBe('')
})

test.skipIf(!existsSync('/dev/full'))('a result that the disk has no room for is a failure', async () => {
  const full = openSync('/dev/full', 'w')
  try {
    const child = spawn(process.execPath, [cli, 'verify', '--help'], { stdio: ['ignore', full, 'ignore'] })
    expect(await once(child, 'close')).toEqual([1, null])
  } finally {
    closeSync(full)
  }
})
