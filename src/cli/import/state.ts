/**
 * What an import remembers beside its file, so that it can go on where it stopped.
 *
 * Idempotency keys are `import:<name>:<line>`. The name is random, made once and written (to the disk) before the
 * first event is sent, or given by the caller; nothing in a key is derived from content, since a bare hash of
 * personal data would outlive its erasure. After a kill the state may be some lines behind what is stored: those
 * are sent again under the same keys and stored once.
 */
import { randomUUID } from 'node:crypto'
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { z } from 'zod'
import { AnnalsError } from '../../errors.js'

const stateSchema = z.object({
  version: z.literal(1),
  name: z.string(),
  organization: z.string().nullable(),
  /** Everything up to this line, and so many bytes, is stored or reported. */
  line: z.int(),
  offset: z.int(),
  accepted: z.int(),
  replayed: z.int(),
})
export type ImportState = z.infer<typeof stateSchema>

export const stateFileOf = (file: string) => `${file}.annals-import.json`

export function freshState(name: string | undefined, organization: string | undefined): ImportState {
  return {
    version: 1,
    name: name ?? randomUUID(),
    organization: organization ?? null,
    line: 0,
    offset: 0,
    accepted: 0,
    replayed: 0,
  }
}

/** @throws AnnalsError `wrong_state` where the file is there and is no state */
export function readState(path: string): ImportState | undefined {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
  try {
    return stateSchema.parse(JSON.parse(text))
  } catch {
    throw new AnnalsError('wrong_state', `${path} is no state of an import; move it away to start anew.`)
  }
}

/** Replaces the state in one step: a kill leaves the old one or the new one. */
export function writeState(path: string, state: ImportState): void {
  const temporary = `${path}.new`
  const file = openSync(temporary, 'w', 0o600)
  try {
    writeFileSync(file, `${JSON.stringify(state)}\n`)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
  renameSync(temporary, path)
}
