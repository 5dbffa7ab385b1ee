import { randomBytes } from 'node:crypto'
import { mkdtemp, readFile, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { defaultPayloadConverter, type Payload } from '@temporalio/common'
import { temporal } from '@temporalio/proto'
import { expect, test } from 'vitest'
import { ensureCodecKeyFile, readCodecKeyFile, type CodecKeys } from '../../../src/temporal/codec-keys.js'
import { createPayloadCodec } from '../../../src/temporal/codec.js'

const keysOf = (...ids: string[]): CodecKeys => ({
  current: ids[0] ?? 'a',
  keys: new Map(ids.map((id) => [id, randomBytes(32)])),
})
const payloadOf = (value: unknown): Payload => defaultPayloadConverter.toPayload(value)
const secret = { engine: 'scanner', note: 'jane@acme.example' }

async function sealOne(keys: CodecKeys, namespace = 'annals', payload = payloadOf(secret)): Promise<Payload> {
  const [sealed] = await createPayloadCodec(keys, namespace).encode([payload])
  if (sealed === undefined) throw new Error('one payload in, one out')
  return sealed
}

test('a payload opens to what it was and shows nothing of it before', async () => {
  const keys = keysOf('a')
  const sealed = await sealOne(keys)
  expect(Buffer.from(sealed.data ?? []).toString('latin1')).not.toContain('jane')
  const [opened] = await createPayloadCodec(keys, 'annals').decode([sealed])
  expect(opened === undefined ? undefined : defaultPayloadConverter.fromPayload(opened)).toEqual(secret)
})

test('payloads without data and of any metadata survive', async () => {
  const keys = keysOf('a')
  const codec = createPayloadCodec(keys, 'annals')
  const odd: Payload[] = [
    payloadOf(undefined),
    payloadOf(new Uint8Array([0, 255])),
    { metadata: {}, data: null },
    // As a workflow that returns nothing leaves it: protobuf's default for bytes is a list.
    temporal.api.common.v1.Payload.create({ metadata: {} }),
  ]
  const opened = await codec.decode(await codec.encode(odd))
  expect(opened.map(({ metadata }) => Object.keys(metadata ?? {}))).toEqual([
    ['encoding'],
    ['encoding'],
    [],
    [],
  ])
  expect(Buffer.from(opened[1]?.data ?? [])).toEqual(Buffer.from([0, 255]))
})

test('the same payload never gives the same ciphertext', async () => {
  const keys = keysOf('a')
  expect((await sealOne(keys)).data).not.toEqual((await sealOne(keys)).data)
})

test('after a rotation old payloads still open, and new ones name the new key', async () => {
  const old = keysOf('a')
  const sealed = await sealOne(old)
  const rotated: CodecKeys = { current: 'b', keys: new Map([...old.keys, ['b', randomBytes(32)]]) }
  await expect(createPayloadCodec(rotated, 'annals').decode([sealed])).resolves.toHaveLength(1)
  expect(Buffer.from((await sealOne(rotated)).metadata?.['annals-key-id'] ?? []).toString()).toBe('b')
})

test('an unknown key, another namespace and every flipped byte are refused', async () => {
  const keys = keysOf('a')
  const sealed = await sealOne(keys)
  const decode = (payload: Payload, by = keys, namespace = 'annals') =>
    createPayloadCodec(by, namespace).decode([payload])
  await expect(decode(sealed, keysOf('other'))).rejects.toMatchObject({ code: 'unknown_key' })
  await expect(decode(sealed, keys, 'elsewhere')).rejects.toMatchObject({ code: 'cannot_open' })
  const data = Buffer.from(sealed.data ?? [])
  for (let index = 0; index < data.length; index += 1) {
    const flipped = Buffer.from(data)
    flipped.writeUInt8(flipped.readUInt8(index) ^ 1, index)
    await expect(decode({ ...sealed, data: flipped })).rejects.toMatchObject({ code: 'cannot_open' })
  }
  await expect(decode({ ...sealed, data: data.subarray(0, 20) })).rejects.toMatchObject({
    code: 'cannot_open',
  })
})

test('a payload of a sender without the codec passes through', async () => {
  const plain = payloadOf({ outcome: 'success' })
  await expect(createPayloadCodec(keysOf('a'), 'annals').decode([plain])).resolves.toEqual([plain])
})

test('the key file is made once, for the owner alone, and read back', async () => {
  const file = join(await mkdtemp(join(tmpdir(), 'annals-codec-')), 'keys', 'codec.json')
  await ensureCodecKeyFile(file)
  const first = await readFile(file, 'utf8')
  await ensureCodecKeyFile(file)
  expect(await readFile(file, 'utf8')).toBe(first)
  expect((await stat(file)).mode & 0o777).toBe(0o600)
  const keys = await readCodecKeyFile(file)
  expect(keys.keys.get(keys.current)).toHaveLength(32)
})

test('a key file that is missing or malformed is refused by its name, without its content', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'annals-codec-'))
  const file = join(folder, 'codec.json')
  await expect(readCodecKeyFile(file)).rejects.toThrow(file)
  const short = randomBytes(16).toString('base64')
  for (const content of ['', '{}', `{"current":"a","keys":{"a":"${short}"}}`, '{"current":"b","keys":{}}']) {
    await writeFile(file, content)
    await expect(readCodecKeyFile(file)).rejects.toThrow(/must hold/)
    await expect(readCodecKeyFile(file)).rejects.not.toThrow(short)
  }
})
