import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { fieldStates, findingCodes } from '../../../src/verification/contract.js'

const page = await readFile(new URL('../../../docs/verifying.md', import.meta.url), 'utf8')
const codesIn = (text: string) => [...text.matchAll(/^\| `(\w+)`/gm)].map(([, code]) => code)

test('docs/verifying.md lists every finding, in order, and every state of a field', () => {
  const table = page.slice(page.indexOf('<!-- findings:start -->'), page.indexOf('<!-- findings:end -->'))
  expect(codesIn(table)).toEqual([...findingCodes])
  expect(
    codesIn(page.slice(page.indexOf('## What is said of a field'), page.indexOf('## What can be found'))),
  ).toEqual([...fieldStates])
})
