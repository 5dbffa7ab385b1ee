/**
 * The committed files that the Go judge checks are what our code writes today. To write them anew, delete
 * `fixtures/log` and run this test; then run `go test ./...` here.
 */
import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { logFixture } from './fixture.js'

const folder = fileURLToPath(new URL('fixtures/log', import.meta.url))

it('the log that the Go judge checks is the log that we write', async () => {
  const files = await logFixture()
  if (!existsSync(folder)) {
    for (const [path, bytes] of files) {
      await mkdir(dirname(join(folder, path)), { recursive: true })
      await writeFile(join(folder, path), bytes)
    }
  }
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const stored = entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
  expect(stored.toSorted()).toEqual([...files.keys()].toSorted())
  for (const [path, bytes] of files) {
    expect([path, Buffer.from(bytes).toString('base64')]).toEqual([
      path,
      (await readFile(join(folder, path))).toString('base64'),
    ])
  }
})
