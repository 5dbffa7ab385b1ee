import { expect, test } from 'vitest'
import { leasedKeys } from '../../../src/erasure/text-search.js'
import type { OrganizationKeyset } from '../../../src/keys/organization-keys.js'
import { Lease, leaseMs } from '../../../src/subjects/leases.js'
import type { SubjectReader } from '../../../src/subjects/readers.js'

// Only handed on.
const keyset = {} as OrganizationKeyset

/** A reader of subjects whose keys are their names and how often they were read; `gone` are erased. */
function world() {
  let now = 0
  const clock = { wallMs: () => now, monotonicMs: () => now }
  const asked: string[][] = []
  const gone = new Set<string>()
  let takesMs = 0
  const reader: SubjectReader = {
    read(_, references) {
      const lease = new Lease(clock)
      asked.push([...references])
      now += takesMs
      takesMs = 0
      const subjects = references.map((reference) => {
        const key = Buffer.from(`${reference}/${String(asked.length)}`)
        return [
          reference,
          gone.has(reference) ? { state: 'erased' as const } : { state: 'active' as const, key },
        ] as const
      })
      return Promise.resolve({ subjects: new Map(subjects), lease })
    },
  }
  const keysOf = leasedKeys(keyset, reader)
  return {
    asked,
    gone,
    pass: (ms: number) => (now += ms),
    slowly: (ms: number) => (takesMs = ms),
    keys: async (...subjects: string[]) =>
      [...(await keysOf(new Set(subjects)))].map(([name, key]) => [name, key.toString()]),
  }
}

test('a key is read once for as long as its lease is fresh, and anew after that', async () => {
  const { asked, keys, pass, gone } = world()
  expect(await keys('a', 'b')).toEqual([
    ['a', 'a/1'],
    ['b', 'b/1'],
  ])
  pass(1_000)
  expect(await keys('a', 'c')).toEqual([
    ['a', 'a/1'],
    ['c', 'c/2'],
  ])
  expect(asked).toEqual([['a', 'b'], ['c']])
  gone.add('a')
  pass(leaseMs - 2_000)
  expect(await keys('a', 'c')).toEqual([['c', 'c/2']])
  expect(asked[2]).toEqual(['a'])
})

test('a key whose lease runs out while others are read is read anew', async () => {
  const { keys, pass, slowly, gone } = world()
  await keys('a')
  pass(3_000)
  gone.add('a')
  slowly(2_500)
  expect(await keys('a', 'b')).toEqual([['b', 'b/3']])
})

test('however many persons there are, no key is missing and a limited number is held', async () => {
  const { asked, keys } = world()
  const many = (from: number) => Array.from({ length: 6_000 }, (_, index) => `s${String(from + index)}`)
  await keys(...many(0))
  const [second, again] = await Promise.all([keys(...many(6_000)), keys(...many(0))])
  expect(second).toHaveLength(6_000)
  expect(again).toHaveLength(6_000)
  // The first ones are held no more.
  await keys('s0')
  expect(asked.at(-1)).toEqual(['s0'])
})
