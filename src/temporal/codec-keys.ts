/**
 * The keys that Temporal payloads are encrypted under: one file, shared by the API and the workers.
 *
 * The file is JSON, `{"current": "<keyId>", "keys": {"<keyId>": "<32 bytes in base64>", …}}`. New payloads use
 * `current`; every other key stays for as long as Temporal may still hold a history written under it (the
 * longest workflow plus the namespace's retention). Rotation: add a key everywhere first, then make it current.
 */
import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { z } from 'zod'
import { createFileOnce } from '../keys/key-files.js'

export interface CodecKeys {
  /** The id of the key that new payloads are encrypted under. */
  readonly current: string
  /** 32 bytes each. */
  readonly keys: ReadonlyMap<string, Buffer>
}

/** The codec key file is absent or malformed. The message names the file, never its content. */
export class CodecKeyFileError extends Error {
  override readonly name = 'CodecKeyFileError'
}

const keyBytes = 32
const keyId = z.string().regex(/^[A-Za-z0-9_-]{1,64}$/)
const fileSchema = z.strictObject({
  current: keyId,
  keys: z.record(
    keyId,
    z
      .string()
      .transform((text) => Buffer.from(text, 'base64'))
      .refine((key) => key.length === keyBytes),
  ),
})

/** Makes the codec key file (mode 0600, one random key) unless it is there. Durable when it returns. */
export async function ensureCodecKeyFile(file: string): Promise<void> {
  const id = `k${randomBytes(6).toString('hex')}`
  const content = { current: id, keys: { [id]: randomBytes(keyBytes).toString('base64') } }
  await createFileOnce(file, `${JSON.stringify(content, null, 2)}\n`)
}

/**
 * Reads the codec key file.
 * @throws CodecKeyFileError
 */
export async function readCodecKeyFile(file: string): Promise<CodecKeys> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch {
    throw new CodecKeyFileError(`the codec key file ${file} cannot be read (ANNALS_CODEC_KEY_FILE)`)
  }
  const parsed = fileSchema.safeParse(parseJson(text))
  if (!parsed.success || parsed.data.keys[parsed.data.current] === undefined) {
    throw new CodecKeyFileError(
      `the codec key file ${file} must hold {"current": id, "keys": {id: 32 bytes in base64}} (ANNALS_CODEC_KEY_FILE)`,
    )
  }
  return { current: parsed.data.current, keys: new Map(Object.entries(parsed.data.keys)) }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
