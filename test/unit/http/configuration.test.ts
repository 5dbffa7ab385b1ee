import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'

const read = (path: string) => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8')
const names = (text: string) =>
  [...new Set([...text.matchAll(/\b(ANNALS_[A-Z_]+|XDG_CACHE_HOME)\b/g)].map(([name]) => name))].sort()

it('docs/configuration.md names every variable that is read, and no other', () => {
  const schema = /const environmentSchema = z\.object\(\{(.*?)\n\}\)/s.exec(read('src/config.ts'))?.[1] ?? ''
  expect(names(schema)).not.toEqual([])
  expect(names(read('docs/configuration.md'))).toEqual(names(schema))
})
