import { readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { z } from 'zod'

const root = new URL('../../../', import.meta.url)

test('the package offers annals/client, and nothing but fetch is behind it', () => {
  const { exports } = z
    .object({ exports: z.object({ './client': z.object({ types: z.string(), default: z.string() }) }) })
    .parse(JSON.parse(readFileSync(new URL('package.json', root), 'utf8')))
  expect(exports['./client'].default).toBe('./dist/src/client/index.js')
  const folder = new URL('src/client/', root)
  for (const name of readdirSync(folder)) {
    const source = readFileSync(new URL(name, folder), 'utf8')
    const loaded = [...source.matchAll(/^import (?!type )[\s\S]*?from '([^']+)'/gm)].map(
      ([, from]) => from ?? '',
    )
    for (const from of loaded) expect([name, from.startsWith('./')]).toEqual([name, true])
    expect(source).not.toMatch(/\bBuffer\b/)
  }
})
