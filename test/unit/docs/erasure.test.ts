import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { erasureActions, erasureStates, operatorReasons } from '../../../src/erasure/contract.js'
import { deadlineLimits } from '../../../src/erasure/deadlines.js'
import { erasureLimits } from '../../../src/erasure/schema.js'

const page = await readFile(new URL('../../../docs/erasure.md', import.meta.url), 'utf8')
const between = (from: string, to: string) => page.slice(page.indexOf(from), page.indexOf(to))
const words = (text: string) => [...text.matchAll(/`([a-z_-]+)`/g)].map(([, word]) => word)

test('docs/erasure.md names every state, every action, and every reason with what to do', () => {
  for (const state of erasureStates) expect(page).toMatch(new RegExp(`\\b${state}\\b`))
  const actions = erasureActions.map((action) => (action === 'verifyIdentity' ? 'verify-identity' : action))
  expect(words(between('## Who does what', '## Deadlines'))).toEqual(expect.arrayContaining(actions))
  const reasons = page.slice(page.indexOf('`needs_operator` comes with a reason'))
  const table = reasons.slice(0, reasons.indexOf('annals_erasure_'))
  const listed = [...table.matchAll(/^\| (`\w+`[^|]*)\|/gm)].flatMap(([, cell = '']) => words(cell))
  expect(listed.sort()).toEqual([...operatorReasons].sort())
})

test('docs/erasure.md says the limits and the reminders as they are', () => {
  const limits = between('| limit ', '## Deadlines')
  for (const limit of [
    erasureLimits.maxIdentifiers,
    erasureLimits.maxIdentifierLength,
    erasureLimits.maxRecipients,
    erasureLimits.maxExemptions,
    erasureLimits.maxNameLength,
    erasureLimits.maxWordsLength,
  ]) {
    expect(limits).toContain(limit.toLocaleString('en'))
  }
  expect(deadlineLimits.reminderDays).toEqual([14, 7, 2])
  expect(page).toContain('Fourteen, seven and two days before')
})
