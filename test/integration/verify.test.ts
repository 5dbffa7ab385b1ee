/**
 * `annals verify` against a real Annals: every way of tampering is done for real in MongoDB, found, and said where it is.
 * Each case has an organization of its own.
 */
import { describe, expect, it } from 'vitest'
import { rebuildCommitments } from '../../src/events/rebuild.js'
import type { StoredEvent } from '../../src/events/store.js'
import { logCollections } from '../../src/transparency-log/store.js'
import { verifyServer } from '../../src/verification/run.js'
import { accept, drainUntilSealed } from '../support/sealing.js'
import { documentOf, places, useSealedLogs, type SealedLog } from '../support/sealed-logs.js'

const { world, keysOf, checkpointOf, sealedLog, leafOf } = useSealedLogs()

interface Given {
  readonly earlier?: string
  readonly key?: string
  readonly logKeys?: readonly string[]
  readonly values?: boolean
  readonly masked?: boolean
  readonly generation?: number
}

const verify = async (
  { org, keys }: SealedLog,
  { key = world().ownerKey, logKeys = keys, values = true, ...rest }: Given = {},
) => (await verifyServer({ url: world().url, key, organization: org, logKeys, values, ...rest })).report

const events = () => world().api.core.events
const log = () => logCollections(world().api.core.db)
const atLeaf = async (one: SealedLog, at: number, code: string) =>
  `${code} at leaf 1.${String(await leafOf(one, one.ids[at]))} ${String(one.ids[at])}`

async function fieldsOf(id: string): Promise<StoredEvent['fields']> {
  const found = await events().findOne({ _id: id })
  if (found === null) throw new Error('the event is there')
  return found.fields
}
const setFields = (id: string, fields: readonly object[]) =>
  events().updateOne({ _id: id }, { $set: { fields: fields as StoredEvent['fields'] } })

describe('an untouched log', () => {
  it('holds, with all values for who may see them, and with blocks withheld for who may not', async () => {
    const one = await sealedLog()
    const whole = await verify(one)
    expect(places(whole)).toEqual([])
    expect(whole).toMatchObject({ size: 7, leaves: 7, records: 7, events: 7 })
    expect(whole.fields).toMatchObject({ withheld: 0, missing: 0 })
    const auditor = await world().key({ role: 'auditor', principal: 'prn_00000000000000000000000001' })
    const veiled = await verify(one, { key: auditor })
    expect(places(veiled)).toEqual([])
    expect(veiled.fields.withheld).toBe(6)
    expect((await verify(one, { masked: true })).fields).toEqual(veiled.fields)
    expect(veiled.fields.intact + 6).toBeGreaterThanOrEqual(whole.fields.intact)
  })

  it('is gone on with from an earlier checkpoint, with which it is proved consistent', async () => {
    const one = await sealedLog(300)
    await accept(world().api.core, one.org, 40)
    await drainUntilSealed(world().api.core, one.org)
    const report = await verify(one, { earlier: one.checkpoint })
    expect(places(report)).toEqual([])
    expect(report.trustedLeaves).toBe(301)
    expect(report.leaves).toBe(report.size - 301)
  })

  it('is told the keys by the server where none are pinned', async () => {
    const one = await sealedLog(1)
    const { org: organization } = one
    const options = { url: world().url, key: world().ownerKey, organization, values: true }
    const verified = await verifyServer({ ...options, logKeys: [] })
    expect(verified).toMatchObject({ trustedOnFirstUse: true, keys: one.keys })
    await expect(verifyServer({ ...options, logKeys: ['no key'] })).rejects.toThrow(/verifier key/)
  })
})

describe('what is done to events', () => {
  it('finds an edited value', async () => {
    const one = await sealedLog()
    const id = documentOf(one, 2)
    const fields = (await fieldsOf(id)).map((field) =>
      'value' in field && field.slot === 'metadata/0' ? { ...field, value: '["plan","enterprise"]' } : field,
    )
    await setFields(id, fields)
    expect(places(await verify(one))).toEqual([await atLeaf(one, 2, 'fields_differ')])
  })

  it('finds an edited ciphertext, and an edited commitment', async () => {
    const one = await sealedLog()
    const edit = async (at: number, member: 'sealed' | 'commitment') => {
      const id = documentOf(one, at)
      const fields = (await fieldsOf(id)).map((field) => {
        if (!('subject' in field)) return field
        const bytes = Buffer.from(field[member] ?? [])
        bytes.writeUInt8(bytes.readUInt8(20) ^ 1, 20)
        return { ...field, [member]: bytes }
      })
      await setFields(id, fields)
    }
    await edit(1, 'sealed')
    await edit(3, 'commitment')
    const report = await verify(one)
    expect(places(report)).toEqual([
      await atLeaf(one, 1, 'field_missing'),
      await atLeaf(one, 3, 'fields_differ'),
    ])
    expect(report.findings.map(({ slots }) => slots)).toEqual([['actor'], ['actor']])
  })

  it.each([
    ['action', { action: 'team.member.removed' }],
    ['outcome', { outcome: 'denied' }],
    ['occurredAt', { occurredAt: new Date(0) }],
    ['actorType', { actorType: 'service' }],
    ['targetTypes', { targetTypes: ['squad'] }],
    ['version', { version: 2 }],
    ['category', { category: 'automation' }],
    ['receivedAt', { receivedAt: new Date(0) }],
  ])('finds an edited envelope: %s', async (name, change) => {
    const one = await sealedLog(2)
    await events().updateOne({ _id: documentOf(one, 1) }, { $set: change })
    const report = await verify(one)
    expect(places(report)).toEqual([await atLeaf(one, 1, 'envelope_differs')])
    expect(report.findings[0]?.detail).toContain(name)
  })

  it('finds a row that is no event any more', async () => {
    const one = await sealedLog(2)
    await events().updateOne({ _id: documentOf(one, 0) }, {
      $set: { occurredAt: 'yesterday', version: 'x' },
    } as object)
    await events().updateOne({ _id: documentOf(one, 1) }, { $set: { fields: [7] } } as object)
    const found = places(await verify(one))
    expect(found).toContain(await atLeaf(one, 0, 'event_malformed'))
    expect(found).toContain(await atLeaf(one, 1, 'event_malformed'))
  })

  it('finds a deleted event', async () => {
    const one = await sealedLog()
    await events().deleteOne({ _id: documentOf(one, 4) })
    expect(places(await verify(one))).toEqual([await atLeaf(one, 4, 'event_missing')])
  })

  it('finds swapped events, at both leaves', async () => {
    const one = await sealedLog()
    const [a, b] = [documentOf(one, 0), documentOf(one, 3)]
    const [first, second] = [await events().findOne({ _id: a }), await events().findOne({ _id: b })]
    if (first === null || second === null) throw new Error('both are there')
    const { _id: _a, ...ofFirst } = first
    const { _id: _b, ...ofSecond } = second
    await events().replaceOne({ _id: a }, ofSecond)
    await events().replaceOne({ _id: b }, ofFirst)
    const found = places(await verify(one))
    expect(found.map((place) => place.replace(/^\w+/, 'x'))).toEqual([
      await atLeaf(one, 0, 'x'),
      await atLeaf(one, 3, 'x'),
    ])
  })

  it('finds swapped ids of leaves', async () => {
    const one = await sealedLog()
    const tile = await log().tiles.findOne({ _id: `${one.org}/1/0/0` })
    const eventIds = tile?.eventIds ?? []
    const expected = [await atLeaf(one, 1, 'event_misplaced'), await atLeaf(one, 2, 'event_misplaced')]
    const [i, j] = [await leafOf(one, one.ids[1]), await leafOf(one, one.ids[2])]
    const swapped = eventIds.with(i, String(eventIds[j])).with(j, String(eventIds[i]))
    await log().tiles.updateOne({ _id: `${one.org}/1/0/0` }, { $set: { eventIds: swapped } })
    expect(places(await verify(one))).toEqual(expected)
  })

  it('finds an inserted row that no log has', async () => {
    const one = await sealedLog(2)
    const template = await events().findOne({ _id: documentOf(one, 0) })
    if (template === null) throw new Error('it is there')
    const id = 'evt_01h455vb4pex5vsknk084sn02q'
    await events().insertOne({ ...template, _id: `${one.org}/${id}` })
    expect(places(await verify(one))).toEqual([`stray_event at event ${id}`])
  })

  it('takes a deletion that is dressed up as an erasure for what it is', async () => {
    const one = await sealedLog()
    // A person's ciphertext is taken away, and the subject said to be erased.
    const person = documentOf(one, 1)
    const fields = await fieldsOf(person)
    const reference = fields.flatMap((field) => ('subject' in field ? [field.subject] : []))[0]
    await setFields(
      person,
      fields.map((field) => {
        if (!('subject' in field)) return field
        const { slot, subject, subjectSalt, commitment } = field
        return { slot, subject, subjectSalt, commitment }
      }),
    )
    await world()
      .api.core.db.collection<{ _id: string }>('subjects')
      .updateOne({ _id: `${one.org}/${String(reference)}` }, { $set: { state: 'erased' } })
    // A clear field is left as removal leaves it.
    const clear = documentOf(one, 3)
    const stored = await events().findOne({ _id: clear })
    if (stored === null) throw new Error('it is there')
    const commitments = new Map(rebuildCommitments(stored)?.map(({ slot, commitment }) => [slot, commitment]))
    await setFields(
      clear,
      stored.fields.map((field) =>
        'slot' in field && field.slot === 'metadata/1'
          ? { slot: field.slot, commitment: commitments.get(field.slot) }
          : field,
      ),
    )
    const report = await verify(one)
    expect(places(report)).toEqual([
      await atLeaf(one, 1, 'field_missing'),
      await atLeaf(one, 3, 'field_missing'),
    ])
    expect(report.findings.map(({ slots }) => slots)).toEqual([['actor'], ['metadata/1']])
    expect(report.fields).toMatchObject({ missing: 2, erased: 0, expired: 0 })
  })

  it('finds a deleted subject, without whose key its block is lost', async () => {
    const one = await sealedLog(2)
    const fields = await fieldsOf(documentOf(one, 1))
    const reference = fields.flatMap((field) => ('subject' in field ? [field.subject] : []))[0]
    await world()
      .api.core.db.collection<{ _id: string }>('subjects')
      .deleteOne({ _id: `${one.org}/${String(reference)}` })
    const found = places(await verify(one))
    expect(found).toEqual([await atLeaf(one, 1, 'field_missing')])
  })

  it('says so where an event was damaged before it was sealed', async () => {
    const one = await sealedLog(1)
    const [late] = await accept(world().api.core, one.org, 1)
    await events().updateOne(
      { _id: `${one.org}/${String(late?.id)}` },
      { $set: { action: 'nothing.happened' } },
    )
    await drainUntilSealed(world().api.core, one.org)
    const leaf = await leafOf(one, late?.id)
    expect(places(await verify(one))).toEqual([
      `record_differs at leaf 1.${String(leaf)} ${String(late?.id)}`,
    ])
    expect(places(await verify(one, { values: false }))).toEqual([`record_missing at leaf 1.${String(leaf)}`])
  })
})

describe('what is done to the log', () => {
  const tileId = ({ org }: SealedLog, level = 0, index = 0) => `${org}/1/${String(level)}/${String(index)}`

  it('finds an edited tile, and the leaf in it', async () => {
    const one = await sealedLog()
    const tile = await log().tiles.findOne({ _id: tileId(one) })
    const hashes = Buffer.from(tile?.hashes ?? [])
    hashes.writeUInt8(hashes.readUInt8(3 * 32) ^ 1, 3 * 32)
    await log().tiles.updateOne({ _id: tileId(one) }, { $set: { hashes } })
    const [found] = (await verify(one)).findings
    expect(found).toMatchObject({ code: 'tile_differs', at: 'tile/0/000.p/7', leaf: { index: 3 } })
  })

  it('finds an edited upper tile', async () => {
    const one = await sealedLog(300)
    const tile = await log().tiles.findOne({ _id: tileId(one, 1) })
    const hashes = Buffer.from(tile?.hashes ?? [])
    hashes.writeUInt8(hashes.readUInt8(3) ^ 1, 3)
    await log().tiles.updateOne({ _id: tileId(one, 1) }, { $set: { hashes } })
    expect(places(await verify(one))).toEqual(['tile_differs at tile/1/000.p/1'])
  })

  it('finds a truncated tile', async () => {
    const one = await sealedLog()
    const tile = await log().tiles.findOne({ _id: tileId(one) })
    const hashes = tile?.hashes.subarray(0, 5 * 32)
    await log().tiles.updateOne({ _id: tileId(one) }, { $set: { hashes: Buffer.from(hashes ?? []) } })
    const found = places(await verify(one))
    expect(found[0]).toMatch(/^tile_missing at tile\/0\/000\.p\/7/)
  })

  it('finds a full tile that was truncated', async () => {
    const one = await sealedLog(300)
    const tile = await log().tiles.findOne({ _id: tileId(one) })
    const hashes = Buffer.from(tile?.hashes.subarray(0, 255 * 32) ?? [])
    await log().tiles.updateOne({ _id: tileId(one) }, { $set: { hashes } })
    expect(places(await verify(one))[0]).toMatch(/^tile_missing at tile\/0\/000/)
  })

  it('finds a record that was edited or taken away', async () => {
    const one = await sealedLog()
    const [i, j] = [await leafOf(one, one.ids[1]), await leafOf(one, one.ids[4])]
    const entries = await log().entries.findOne({ _id: `${one.org}/1/0` })
    const records = [...(entries?.records ?? [])]
    records[i] = records[i]?.replace('team.member.invited', 'team.member.removed') ?? ''
    records[j] = ''
    await log().entries.updateOne({ _id: `${one.org}/1/0` }, { $set: { records } })
    // What went is still made by the event itself.
    expect(places(await verify(one))).toEqual([await atLeaf(one, 1, 'record_differs')])
    expect(places(await verify(one, { values: false }))).toEqual([
      await atLeaf(one, 1, 'record_differs'),
      `record_missing at leaf 1.${String(j)}`,
    ])
  })

  it('finds a leaf that was taken out of the log', async () => {
    const one = await sealedLog()
    const tile = await log().tiles.findOne({ _id: tileId(one) })
    const entries = await log().entries.findOne({ _id: `${one.org}/1/0` })
    await log().tiles.updateOne(
      { _id: tileId(one) },
      {
        $set: {
          width: 6,
          hashes: Buffer.concat([
            tile?.hashes.subarray(0, 64) ?? Buffer.alloc(0),
            tile?.hashes.subarray(96) ?? Buffer.alloc(0),
          ]),
          eventIds: tile?.eventIds?.toSpliced(2, 1) ?? [],
        },
      },
    )
    await log().entries.updateOne(
      { _id: `${one.org}/1/0` },
      { $set: { records: entries?.records.toSpliced(2, 1) ?? [] } },
    )
    const report = await verify(one)
    expect(report.findingCount).toBeGreaterThan(0)
    expect(places(report).join()).toContain('root_differs at checkpoint')
  })

  it('finds a forged checkpoint, with pinned keys and without', async () => {
    const one = await sealedLog()
    const forged = one.checkpoint.replace('\n7\n', '\n6\n')
    await log().heads.updateOne({ _id: one.org }, { $set: { checkpoint: forged } })
    expect(places(await verify(one))).toEqual(['checkpoint_invalid at checkpoint'])
    expect(places(await verify(one, { logKeys: [] }))).toEqual(['checkpoint_invalid at checkpoint'])
  })

  it('finds the checkpoint of another organization', async () => {
    const [one, other] = [await sealedLog(), await sealedLog()]
    await log().heads.updateOne({ _id: one.org }, { $set: { checkpoint: other.checkpoint } })
    expect(places(await verify(one))).toEqual(['checkpoint_foreign at checkpoint'])
    expect(places(await verify(one, { logKeys: [] }))).toEqual(['checkpoint_foreign at checkpoint'])
    expect(places(await verify({ ...other, org: one.org }))).toContain('checkpoint_foreign at keys')
  })

  it('finds a database that was rolled back behind a checkpoint that it had signed', async () => {
    const one = await sealedLog()
    const names = ['logHeads', 'logTiles', 'logEntries', 'events'] as const
    const scope = { organizationId: one.org }
    const before = await Promise.all(
      names.map((name) =>
        world().api.core.db.collection(name).find(scope, { promoteLongs: false }).toArray(),
      ),
    )
    await accept(world().api.core, one.org, 4)
    await drainUntilSealed(world().api.core, one.org)
    const trusted = await checkpointOf(one.org)
    expect(places(await verify(one, { earlier: trusted }))).toEqual([])
    for (const [at, name] of names.entries()) {
      await world().api.core.db.collection(name).deleteMany(scope)
      await world()
        .api.core.db.collection(name)
        .insertMany(before[at] ?? [])
    }
    expect(places(await verify(one, { earlier: trusted }))).toEqual(['rolled_back at checkpoint'])
    // Nor is another tree grown from there: the rollback guard refuses to seal.
    await accept(world().api.core, one.org, 1)
    await expect(drainUntilSealed(world().api.core, one.org)).rejects.toThrow(/behind/)
    await generations(one)
  })

  /** A new generation is opened: it verifies, and so does the one before; the feed goes through both. */
  async function generations(one: SealedLog): Promise<void> {
    await world().api.core.sealing.restarter.restart(one.org)
    await drainUntilSealed(world().api.core, one.org)
    const old = await verify(one, { generation: 1 })
    expect([places(old), old.origin]).toEqual([[], `annals.local/${one.org}/1`])
    const fresh = await verify({ ...one, keys: await keysOf(one.org) })
    expect([places(fresh), fresh.origin]).toEqual([[], `annals.local/${one.org}/2`])
    expect(fresh.events).toBe(fresh.size)
    let next = ''
    let count = 0
    for (;;) {
      const query = `limit=4&personal=false${next === '' ? '' : `&after=${next}`}`
      const page = (await world().request('GET', `/v1/organizations/${one.org}/feed?${query}`)).body as {
        data: { log: { generation: number } }[]
        next: string
      }
      if (page.data.length === 0) break
      expect(new Set(page.data.map(({ log: place }) => place.generation)).size).toBe(1)
      count += page.data.length
      next = page.next
    }
    expect(count).toBe(old.size + fresh.size)
    expect(next).toMatch(/^2\./)
  }

  it('refuses an earlier checkpoint of another log', async () => {
    const [one, other] = [await sealedLog(1), await sealedLog(1)]
    await expect(verify(one, { earlier: other.checkpoint })).rejects.toThrow(/earlier checkpoint/)
    await expect(verify(one, { earlier: 'nothing' })).rejects.toThrow(/earlier checkpoint/)
  })
})
