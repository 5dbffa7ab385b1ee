import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { fieldCommitment, fieldsDigest, leafHashOf, recordJson } from '../../../src/events/record.js'

/** The worked example, read from the comment that opens record.ts. */
async function workedExample() {
  const source = await readFile(new URL('../../../src/events/record.ts', import.meta.url), 'utf8')
  const comment = source.slice(0, source.indexOf('*/')).replaceAll(/^ \* ?/gm, '')
  const grab = (pattern: RegExp) => {
    const found = pattern.exec(comment)?.[1]
    if (found === undefined) throw new Error(`record.ts no longer shows ${pattern.source}`)
    return found
  }
  return {
    id: grab(/id (evt_\S{26}),/),
    actor: grab(/^ {4}actor {7}([0-9a-f]{64})$/m),
    metadata: grab(/^ {4}metadata\/0 {2}([0-9a-f]{64})$/m),
    record: grab(/^( {4}\{"action"[^}]*\})/m).replaceAll(/\n {4}|^ {4}/g, ''),
    leaf: grab(/leaf hash \(hex\)\n\n {4}([0-9a-f]{64})/),
  }
}

const bytes = (from: number) => Buffer.from(Array.from({ length: 16 }, (_, index) => from + index))

test('the worked example that opens record.ts holds to the byte', async () => {
  const example = await workedExample()
  const actor = fieldCommitment(example.id, 'actor', bytes(0), '{"id":"billing"}')
  const metadata = fieldCommitment(example.id, 'metadata/0', bytes(16), '["plan","pro"]')
  expect(actor.toString('hex')).toBe(example.actor)
  expect(metadata.toString('hex')).toBe(example.metadata)
  const record = recordJson(
    {
      organizationId: 'org_acme',
      id: example.id,
      action: 'team.member.invited',
      category: 'account',
      outcome: 'success',
      version: 1,
      occurredAt: new Date('2026-11-25T10:00:00.000Z'),
      receivedAt: new Date('2026-11-25T10:00:01.000Z'),
      actorType: 'service',
      targetTypes: [],
    },
    fieldsDigest([actor, metadata]),
  )
  expect(record).toBe(example.record)
  expect(leafHashOf(record).toString('hex')).toBe(example.leaf)
})

test('a commitment changes with each of its parts', () => {
  const parts: [string, string, Buffer, string] = ['evt_1', 'context', bytes(0), '{}']
  const all = [
    fieldCommitment(...parts),
    fieldCommitment('evt_2', parts[1], parts[2], parts[3]),
    fieldCommitment(parts[0], 'description', parts[2], parts[3]),
    fieldCommitment(parts[0], parts[1], bytes(1), parts[3]),
    fieldCommitment(parts[0], parts[1], parts[2], '{"a":1}'),
  ]
  expect(new Set(all.map((one) => one.toString('hex'))).size).toBe(all.length)
})

test('a field longer than the scratch buffer is hashed whole', () => {
  const short = fieldCommitment('evt_1', 'description', bytes(0), JSON.stringify('é'.repeat(40_000)))
  const long = fieldCommitment('evt_1', 'description', bytes(0), JSON.stringify('é'.repeat(40_001)))
  expect(short).not.toEqual(long)
  expect(fieldCommitment('evt_1', 'description', bytes(0), JSON.stringify('é'.repeat(40_000)))).toEqual(short)
})
