/** The worked example of segment.ts, byte for byte, and what is not a line. */
import { expect, test } from 'vitest'
import {
  archivable,
  formatContentLine,
  formatRecordLine,
  parseContentLines,
  parseRecordLines,
  storedEventOf,
  type SegmentLeaf,
} from '../../../src/archive/segment.js'
import {
  formatManifest,
  openRecordsManifest,
  type RecordsManifest,
} from '../../../src/archive/segment-manifest.js'
import { parseSegmentPath, recordsManifestPath } from '../../../src/archive/segment-paths.js'
import { rebuildLeaf } from '../../../src/events/rebuild.js'
import type { StoredEvent } from '../../../src/events/store.js'
import { nodeNoteCrypto, sha256 } from '../../../src/transparency-log/node-crypto.js'
import { ed25519Signer, ed25519Verifier, verifierKey } from '../../../src/transparency-log/note-key.js'

const bytes = (hex: string) => Buffer.from(hex, 'hex')
const id = 'evt_01h455vb4pex5vsknk084sn02q'
const leafHash = bytes('4fdb5d7b0cc40e93aa1cf2bb05448a7908a9f7825aac6c8cd52cc3254fe4d8f9')
const event: StoredEvent = {
  _id: `org_acme/${id}`,
  organizationId: 'org_acme',
  v: 1,
  action: 'team.member.invited',
  category: 'account',
  outcome: 'success',
  version: 1,
  occurredAt: new Date('2026-11-25T10:00:00.000Z'),
  receivedAt: new Date('2026-11-25T10:00:01.000Z'),
  actorType: 'service',
  targetTypes: [],
  fields: [
    { terms: [1n] },
    { slot: 'actor', salt: bytes('000102030405060708090a0b0c0d0e0f'), value: '{"id":"billing"}' },
    {
      slot: 'metadata/0',
      salt: bytes('101112131415161718191a1b1c1d1e1f'),
      value: '["plan","pro"]',
      terms: [2n, -2n],
    },
  ],
  leafHash,
  mac: Buffer.alloc(32, 7),
}
const leaf: SegmentLeaf = {
  index: 0,
  eventId: id,
  sealedAt: new Date('2026-11-25T10:00:02.000Z'),
  leafHash,
  record: rebuildLeaf(event)?.record ?? '',
  event,
}

const recordLine =
  '{"index":0,"id":"evt_01h455vb4pex5vsknk084sn02q","sealedAt":"2026-11-25T10:00:02.000Z","leafHash":' +
  '"T9tdewzEDpOqHPK7BUSKeQip94JarGyM1SzDJU/k2Pk=","record":"{\\"action\\":\\"team.member.invited\\",\\"actorType\\":' +
  '\\"service\\",\\"category\\":\\"account\\",\\"fields\\":\\"v9fhnhwpfKDGMxuZfjbcfCMHVEnLqEtQvYwPKQGwpMA\\",\\"id\\":' +
  '\\"evt_01h455vb4pex5vsknk084sn02q\\",\\"occurredAt\\":\\"2026-11-25T10:00:00.000Z\\",\\"organizationId\\":\\"org_acme\\",' +
  '\\"outcome\\":\\"success\\",\\"receivedAt\\":\\"2026-11-25T10:00:01.000Z\\",\\"targetTypes\\":[],\\"v\\":1,\\"version\\":1}"}\n'
const contentLine =
  '{"index":0,"id":"evt_01h455vb4pex5vsknk084sn02q","v":1,"action":"team.member.invited","category":"account",' +
  '"outcome":"success","version":1,"occurredAt":"2026-11-25T10:00:00.000Z","receivedAt":"2026-11-25T10:00:01.000Z",' +
  '"actorType":"service","targetTypes":[],"fields":[{"terms":"0000000000000001"},{"slot":"actor","salt":' +
  '"AAECAwQFBgcICQoLDA0ODw==","value":"{\\"id\\":\\"billing\\"}"},{"slot":"metadata/0","salt":' +
  '"EBESExQVFhcYGRobHB0eHw==","value":"[\\"plan\\",\\"pro\\"]","terms":"0000000000000002fffffffffffffffe"}]}\n'

test('the worked example of the format holds, byte for byte, and reads back', () => {
  expect(formatRecordLine(leaf)).toBe(recordLine)
  expect(formatContentLine(0, id, event)).toBe(contentLine)
  expect(parseRecordLines(Buffer.from(recordLine))).toEqual([
    { index: 0, id, sealedAt: '2026-11-25T10:00:02.000Z', leafHash, record: leaf.record },
  ])
  const [line] = parseContentLines(Buffer.from(contentLine))
  if (line === undefined) throw new Error('there is a line')
  expect(storedEventOf('org_acme', line)).toEqual({ ...event, mac: Buffer.alloc(0) })
  expect(storedEventOf('org_other', line)?.leafHash).not.toEqual(leafHash)
})

test('the worked example of a manifest holds, byte for byte, and opens for its own segment only', () => {
  const pair = nodeNoteCrypto.importSeed(
    bytes('629f052b7544ce4658ff325a59facb19d723e0289933e5e0283a93c1893eb164'),
  )
  const name = 'annals.example/archive'
  const range = { organizationId: 'org_acme', generation: 1, from: 0, to: 1 }
  const path = 'org_acme/1/000000000000-000000000001.records'
  const manifest: RecordsManifest = {
    format: 'annals/segment-records/v1',
    ...range,
    file: {
      path: `${path}.ndjson.gz`,
      bytes: 300,
      sha256: '00'.repeat(32),
      members: [{ first: 0, offset: 0, bytes: 300 }],
    },
    leaves: 1,
    damaged: 0,
    sealedFrom: '2026-11-25T10:00:02.000Z',
    sealedTo: '2026-11-25T10:00:02.000Z',
    frontier: [],
    root: leafHash.toString('base64'),
    consistency: [],
    checkpoint: 'a signed note\n',
    logKeys: [],
    previous: null,
  }
  const note = formatManifest(manifest, [ed25519Signer(name, pair, sha256)])
  expect(note.split('\n\n')[0]).toBe(
    '{"checkpoint":"a signed note\\n","consistency":[],"damaged":0,"file":{"bytes":300,"members":[{"bytes":300,"first":0,' +
      `"offset":0}],"path":"${path}.ndjson.gz","sha256":"${'00'.repeat(32)}"},"format":"annals/segment-records/v1","from":0,` +
      '"frontier":[],"generation":1,"leaves":1,"logKeys":[],"organizationId":"org_acme","previous":null,' +
      '"root":"T9tdewzEDpOqHPK7BUSKeQip94JarGyM1SzDJU/k2Pk=","sealedFrom":"2026-11-25T10:00:02.000Z",' +
      '"sealedTo":"2026-11-25T10:00:02.000Z","to":1}',
  )
  expect(note.split('\n\n')[1]).toMatch(/^— annals\.example\/archive [A-Za-z0-9+/]+=*\n$/)
  const verifiers = [ed25519Verifier(verifierKey(name, 'ed25519', pair.publicKey, sha256), nodeNoteCrypto)]
  const open = (of: typeof range, text = note) => openRecordsManifest(Buffer.from(text), of, verifiers)
  expect(open(range)).toMatchObject({ manifest, path: recordsManifestPath(range) })
  expect(() => open({ ...range, organizationId: 'org_other' })).toThrow(
    expect.objectContaining({ code: 'manifest_foreign' }),
  )
  // Another spelling of the same values is not what was signed, and neither is another value.
  for (const [from, to] of [
    ['"from":0', '"from": 0'],
    ['"damaged":0', '"damaged":1'],
    [name, `${name}2`],
  ] as const)
    expect(() => open(range, note.replace(from, to))).toThrow(
      expect.objectContaining({ code: 'manifest_invalid' }),
    )
})

test('paths name segments, and nothing else is a path of one', () => {
  const range = { organizationId: 'org_acme', generation: 2, from: 256, to: 512 }
  const base = 'org_acme/2/000000000256-000000000512'
  const at = (path: string) => parseSegmentPath(`${base}.${path}`)
  expect(at('records.ndjson.gz')).toEqual({ ...range, kind: 'records', revision: 0 })
  expect(at('records.manifest')).toEqual({ ...range, kind: 'recordsManifest', revision: 0 })
  expect(at('content.12.ndjson.gz')).toEqual({ ...range, kind: 'content', revision: 12 })
  expect(at('content.1.manifest')).toEqual({ ...range, kind: 'contentManifest', revision: 1 })
  for (const path of [
    'content.ndjson.gz',
    'content.0.manifest',
    'records.1.manifest',
    'records.manifest.tmp',
  ])
    expect(at(path)).toBeUndefined()
  expect(parseSegmentPath('org.acme/1/000000000000-000000000001.records.manifest')).toBeUndefined()
  expect(parseSegmentPath('org_acme/1/000000000001-000000000001.records.manifest')).toBeUndefined()
})

test('what was edited in the hot store is archived as damaged, and never as if it were whole', () => {
  const edited = { ...event, outcome: 'failure' }
  expect(archivable('org_acme', leaf)).toEqual({ record: leaf.record, event })
  expect(archivable('org_acme', { ...leaf, event: edited })).toEqual({
    record: leaf.record,
    event: undefined,
  })
  expect(archivable('org_acme', { ...leaf, record: 'x', event: edited })).toEqual({
    record: '',
    event: undefined,
  })
  // The record went, and the event makes it anew.
  expect(archivable('org_acme', { ...leaf, record: '' })).toEqual({ record: leaf.record, event })
  expect(archivable('org_acme', { ...leaf, eventId: 'evt_other' }).event).toBeUndefined()
})

test('members that nothing commits to may have been edited to anything, and spoil no line', () => {
  const fields = [
    { terms: ['x', 1.5, 3n, 4] },
    { ...event.fields[1], sealed: 7 },
    { ...event.fields[2], terms: 'none', more: {} },
  ]
  const loose = { ...event, fields } as unknown as StoredEvent
  const [line] = parseContentLines(Buffer.from(formatContentLine(0, id, loose)))
  if (line === undefined) throw new Error('there is a line')
  const read = storedEventOf('org_acme', line)
  expect(read?.leafHash).toEqual(leafHash)
  expect(read?.fields[0]).toEqual({ terms: [3n, 4n] })
})
