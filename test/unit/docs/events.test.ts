import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { limits } from '../../../src/events/limits.js'
import { version } from '../../../src/version.js'

const read = (path: string) => readFile(new URL(`../../../${path}`, import.meta.url), 'utf8')

test('docs/events.md lists every limit with its value, and no other', async () => {
  const page = await read('docs/events.md')
  const table = page.slice(page.indexOf('<!-- limits:start -->'), page.indexOf('<!-- limits:end -->'))
  const rows = [...table.matchAll(/^\| `(\w+)` +\| ([\d,]+) +\|/gm)].map(([, name, value]) => [
    name,
    Number(value?.replaceAll(',', '')),
  ])
  expect(Object.fromEntries(rows)).toEqual(limits)
})

test('the version of the build is the package’s', async () => {
  const manifest = JSON.parse(await read('package.json')) as { version: string }
  expect(version).toBe(manifest.version)
})
