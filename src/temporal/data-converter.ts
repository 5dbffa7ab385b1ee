/** The data converter of every client and worker: plain JSON, encrypted, failures included. */
import { basename, dirname, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { DataConverter } from '@temporalio/common'
import { createPayloadCodec } from './codec.js'
import type { CodecKeys } from './codec-keys.js'

/** @param namespace the Temporal namespace the payloads belong to; they open in no other */
export function createDataConverter(keys: CodecKeys, namespace: string): DataConverter {
  return { failureConverterPath, payloadCodecs: [createPayloadCodec(keys, namespace)] }
}

const failureConverterPath = builtFailureConverter(dirname(fileURLToPath(import.meta.url)))

/**
 * The SDK loads this module with `require`, which reads no TypeScript, so it is the built file also where this
 * module runs from its source (in tests).
 */
function builtFailureConverter(here: string): string {
  const root = resolve(here, '../..')
  const built = basename(root) === 'dist' ? root : resolve(root, 'dist')
  return resolve(built, 'src/temporal/failure-converter.js')
}
