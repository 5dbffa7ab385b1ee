import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { corpus, scoreTable } from './corpus.js'

const page = new URL('../../../docs/detection.md', import.meta.url)
const table = /(?<=<!-- quality -->\n\n)[^]*?(?=\n\n<!-- \/quality -->)/

test('docs/detection.md shows precision and recall as they are', async () => {
  const text = readFileSync(page, 'utf8')
  expect(text).toMatch(table)
  // `npx vitest run test/unit/detectors/quality.test.ts --update` writes the table anew.
  await expect(text.replace(table, scoreTable())).toMatchFileSnapshot(fileURLToPath(page))
})

test('the corpus is large, labelled inside its texts, and a good part of it holds nothing', () => {
  const texts = corpus()
  expect(texts.length).toBeGreaterThanOrEqual(400)
  expect(texts.filter(({ spans }) => spans.length === 0).length).toBeGreaterThan(100)
  expect(new Set(texts.map(({ text }) => text)).size).toBe(texts.length)
  for (const { text, spans } of texts)
    for (const { start, end } of spans) expect(text.slice(start, end).trim().length).toBeGreaterThan(5)
})
