/** The keys that an archive is checked with: published for anybody, and taken by `annals verify ARCHIVE --url`. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createOutput } from '../../src/cli/output.js'
import { run as runCli } from '../../src/cli/program.js'
import { createLogger } from '../../src/logging.js'
import { archiveRange, archiverOf, dueRange } from '../support/retaining.js'
import { accept, drainUntilSealed } from '../support/sealing.js'
import { openWorld, type World } from '../support/world.js'

let world: World
let other: World
beforeAll(async () => {
  world = await openWorld()
  other = await openWorld()
  await accept(world.api.core, 'org_keys', 30)
  await drainUntilSealed(world.api.core, 'org_keys')
  const range = await dueRange(world, 'org_keys')
  if (range === undefined) throw new Error('nothing is due')
  await archiveRange(archiverOf(world), range)
})
afterAll(async () => {
  await world.close()
  await other.close()
})

const folder = () => {
  const { archive } = world.config
  if (archive.kind !== 'folder') throw new Error('the archive of this world is a folder')
  return archive.folder
}

async function verify(...given: string[]) {
  const printed = { out: '', notes: '' }
  const output = createOutput(true, {
    out: { write: (text: string) => ((printed.out += text), true) },
    error: { write: (text: string) => ((printed.notes += text), true) },
  })
  const unused = () => Promise.reject(new Error('an archive is verified by itself'))
  const context = {
    services: { openApi: unused, openKeys: unused, openLog: unused, setup: unused, up: unused },
    loadConfig: () => world.config,
    createLogger: () => createLogger('error', { write: () => undefined }),
    output: () => output,
  }
  const code = await runCli(['verify', `file:${folder()}`, '--json', ...given], context, output)
  return { code, ...printed }
}

test('anybody gets the keys that lie in the archive, from the server that signed it', async () => {
  const answer = await world.request('GET', '/v1/archive/keys', { key: '' })
  expect(answer.status).toBe(200)
  expect(answer.headers.get('content-type')).toBe('text/plain; charset=utf-8')
  expect(answer.text).toBe(await readFile(join(folder(), 'segments', 'archive.keys'), 'utf8'))
  expect(answer.text).toMatch(/^[^\n]+\/archive\+[0-9a-f]{8}\+\S+\n$/)
})

test('an archive is checked by the keys of a server, which need not be those that lie in it', async () => {
  const itsOwn = await verify()
  expect([itsOwn.code, itsOwn.notes]).toEqual([0, expect.stringContaining('from the archive itself')])
  const asked = await verify('--url', world.url)
  expect([asked.code, asked.notes]).toEqual([0, expect.stringContaining(`the keys come from ${world.url}`)])
  expect(JSON.parse(asked.out)).toMatchObject({ verdict: 'intact', trustedOnFirstUse: false })
  // Whoever replaced it as a whole has signed it with other keys than the server's.
  const foreign = await verify('--url', other.url)
  expect(foreign.code).toBe(3)
  expect(JSON.parse(foreign.out)).toMatchObject({ verdict: 'tampering' })
  // A key that was given counts, and nobody is asked.
  const key = (await world.request('GET', '/v1/archive/keys', { key: '' })).text.trim()
  expect((await verify('--archive-key', key, '--url', 'http://127.0.0.1:1')).code).toBe(0)
  expect((await verify('--url', 'http://127.0.0.1:1')).code).toBe(4)
})
