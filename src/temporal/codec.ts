/**
 * The payload codec: everything a workflow takes, returns or is told is encrypted before it leaves the process,
 * so that Temporal's database, its backups and its UI hold ciphertext only.
 *
 * An encrypted payload:
 *   metadata  encoding = `binary/annals-v1`, annals-key-id = the id of the codec key
 *   data      salt (32) ‖ AES-256-GCM ciphertext ‖ tag (16)
 * The AES key (32 bytes) and the nonce (12 bytes) are HKDF-SHA-256(codec key, salt, `annals/temporal/payload/v1`),
 * with a fresh random salt for each payload, so no (key, nonce) pair ever repeats however many payloads there are.
 * Additional data: namespace 0x00 key id; a payload copied into another namespace does not open.
 * The plaintext is the inner payload: metadata as JSON behind its length (4 bytes, big-endian), then the data.
 *
 * A payload of any other encoding passes through as it is: back-end jobs may signal without the codec.
 */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'
import type { Payload, PayloadCodec } from '@temporalio/common'
import { z } from 'zod'
import type { CodecKeys } from './codec-keys.js'

const encodingName = 'binary/annals-v1'
const keyIdName = 'annals-key-id'
const saltBytes = 32
const tagBytes = 16
const keyBytes = 32
const nonceBytes = 12
const lengthBytes = 4

export type CodecFailure = 'unknown_key' | 'cannot_open'

/** A payload that does not open: its key is not in the key file, or it is not what was written. */
export class PayloadCodecError extends Error {
  override readonly name = 'PayloadCodecError'
  constructor(readonly code: CodecFailure) {
    super(code)
  }
}

/**
 * The codec of clients and workers. Decoding throws PayloadCodecError on an unknown key or a damaged payload: a
 * workflow that went on with a stand-in would decide something wrong; one that waits goes on when the key is back.
 */
export function createPayloadCodec(keys: CodecKeys, namespace: string): PayloadCodec {
  return {
    encode: (payloads) => Promise.resolve(payloads.map((payload) => sealPayload(payload, keys, namespace))),
    // An async function, so that a failure is a rejected promise.
    decode: async (payloads) =>
      Promise.resolve(payloads.map((payload) => openPayload(payload, keys, namespace))),
  }
}

/** Encrypts one payload under the current key. */
function sealPayload(payload: Payload, keys: CodecKeys, namespace: string): Payload {
  const key = keys.keys.get(keys.current)
  if (key === undefined) throw new PayloadCodecError('unknown_key')
  const salt = randomBytes(saltBytes)
  const { aesKey, nonce } = derive(key, salt)
  const cipher = createCipheriv('aes-256-gcm', aesKey, nonce, { authTagLength: tagBytes })
  cipher.setAAD(additionalData(namespace, keys.current))
  const ciphertext = cipher.update(frame(payload))
  return {
    metadata: { encoding: Buffer.from(encodingName), [keyIdName]: Buffer.from(keys.current) },
    data: Buffer.concat([salt, ciphertext, cipher.final(), cipher.getAuthTag()]),
  }
}

/**
 * Opens one payload; one that is not Annals' own is answered as it is.
 * @throws PayloadCodecError
 */
export function openPayload(payload: Payload, keys: CodecKeys, namespace: string): Payload {
  if (text(payload.metadata?.['encoding']) !== encodingName) return payload
  const keyId = text(payload.metadata?.[keyIdName])
  const key = keys.keys.get(keyId)
  if (key === undefined) throw new PayloadCodecError('unknown_key')
  const data = Buffer.from(payload.data ?? [])
  if (data.length < saltBytes + tagBytes) throw new PayloadCodecError('cannot_open')
  const { aesKey, nonce } = derive(key, data.subarray(0, saltBytes))
  const decipher = createDecipheriv('aes-256-gcm', aesKey, nonce, { authTagLength: tagBytes })
  decipher.setAAD(additionalData(namespace, keyId))
  decipher.setAuthTag(data.subarray(-tagBytes))
  const opened = decipher.update(data.subarray(saltBytes, -tagBytes))
  try {
    decipher.final()
  } catch {
    throw new PayloadCodecError('cannot_open')
  }
  return unframe(opened)
}

function derive(key: Buffer, salt: Buffer): { aesKey: Buffer; nonce: Buffer } {
  const bytes = Buffer.from(
    hkdfSync('sha256', key, salt, 'annals/temporal/payload/v1', keyBytes + nonceBytes),
  )
  return { aesKey: bytes.subarray(0, keyBytes), nonce: bytes.subarray(keyBytes) }
}

function additionalData(namespace: string, keyId: string): Buffer {
  return Buffer.from(`${namespace}\0${keyId}`)
}

function frame(payload: Payload): Buffer {
  const metadata = Object.fromEntries(
    Object.entries(payload.metadata ?? {}).map(([name, value]) => [
      name,
      Buffer.from(value).toString('base64'),
    ]),
  )
  const header = Buffer.from(JSON.stringify(metadata))
  const length = Buffer.alloc(lengthBytes)
  length.writeUInt32BE(header.length)
  // Without data (`undefined`) it may come as no bytes, or as an empty list: so Temporal's own classes have it.
  return Buffer.concat([length, header, Buffer.from(payload.data ?? [])])
}

const headerSchema = z.record(z.string(), z.string())

function unframe(framed: Buffer): Payload {
  const end = lengthBytes + framed.readUInt32BE(0)
  const header = headerSchema.parse(JSON.parse(framed.subarray(lengthBytes, end).toString('utf8')))
  const metadata = Object.fromEntries(
    Object.entries(header).map(([name, value]) => [name, Buffer.from(value, 'base64')]),
  )
  return { metadata, data: framed.subarray(end) }
}

function text(bytes: Uint8Array | null | undefined): string {
  return bytes === null || bytes === undefined ? '' : Buffer.from(bytes).toString('utf8')
}
