import { MongoClient } from 'mongodb'
import { expect, test } from 'vitest'
import type { ArchivedContent } from '../../../src/erasure/archived-content.js'
import { createTargets, exemptCollections } from '../../../src/erasure/targets/registry.js'
import type { PeriodKeys } from '../../../src/keys/period-keys.js'
import { collectionNames } from '../../../src/mongo/collections.js'

test('every collection is in the registry of targets, or exempt for a reason; none is both', () => {
  // Never connected: the targets are only asked for their names.
  const never = () => Promise.reject(new Error('it is only asked for its name'))
  const archive = {
    archived: {} as ArchivedContent,
    log: { locateAll: never },
    ledger: { entries: never as never },
  }
  const none = new MongoClient('mongodb://127.0.0.1:1').db('none')
  const targets = createTargets(none, archive, { reach: never, files: never as never }, {} as PeriodKeys)
  const covered = new Set<string>(targets.flatMap(({ collections }) => collections))
  const exempt = Object.keys(exemptCollections)
  expect(Object.keys(collectionNames).filter((name) => !covered.has(name) && !exempt.includes(name))).toEqual(
    [],
  )
  expect(exempt.filter((name) => covered.has(name) || !(name in collectionNames))).toEqual([])
  expect(new Set(targets.map(({ name }) => name)).size).toBe(targets.length)
})
