/** Which keys speak for a log: those that were given, or, at first use, those that came with it. */
import { cosignatureVerifier } from '../transparency-log/cosignature.js'
import { LogError } from '../transparency-log/errors.js'
import {
  openCheckpoint,
  parseCheckpoint,
  type OpenedCheckpoint,
  type TrustedLog,
} from '../transparency-log/checkpoint.js'
import { parseNote } from '../transparency-log/note.js'
import { ed25519Verifier, parseVerifierKey, type NoteCrypto } from '../transparency-log/note-key.js'
import type { Finding } from './contract.js'
import { TrustError } from './errors.js'
import { codeOfCheckpoint } from './receipt-check.js'

/**
 * The log that verifier keys speak for. All must have one name, which is the log's origin.
 * @throws TrustError
 */
export function trustedLog(keys: readonly string[], crypto: NoteCrypto): TrustedLog {
  try {
    const parsed = keys.map((text) => parseVerifierKey(text, crypto.sha256))
    const [first] = parsed
    if (first === undefined) throw new TrustError('A verifier key of the log is needed.')
    if (parsed.some(({ name }) => name !== first.name)) throw new TrustError('The keys are of several logs.')
    return { origin: first.name, logKeys: parsed.map((key) => ed25519Verifier(key, crypto)) }
  } catch (error) {
    if (error instanceof LogError) throw new TrustError(`A verifier key is none: ${error.detail}.`)
    throw error
  }
}

/**
 * The anchor log that verifier keys speak for, and the witnesses whose cosignatures count.
 * @throws TrustError
 */
export function trustedAnchor(
  keys: readonly string[],
  witnessKeys: readonly string[],
  crypto: NoteCrypto,
): TrustedLog {
  const log = trustedLog(keys, crypto)
  try {
    const witnesses = witnessKeys.map((key) =>
      cosignatureVerifier(parseVerifierKey(key, crypto.sha256), crypto),
    )
    return { ...log, witnessKeys: witnesses }
  } catch (error) {
    if (error instanceof LogError) throw new TrustError(`A witness's key is none: ${error.detail}.`)
    throw error
  }
}

export interface LogName {
  /** What the origins of all logs of a deployment begin with. */
  readonly deployment: string
  readonly organization: string
  readonly generation: number
}

/** The parts of an origin, `<deployment><organization>/<generation>`. */
export function nameOfOrigin(origin: string): LogName | undefined {
  const [, deployment = '', organization = '', generation = ''] =
    /^(.*?)([A-Za-z0-9_-]{1,64})\/([1-9]\d*)$/.exec(origin) ?? []
  return organization === '' ? undefined : { deployment, organization, generation: Number(generation) }
}

export const originOfName = ({ deployment, organization, generation }: LogName): string =>
  `${deployment}${organization}/${String(generation)}`

/** The origin that a checkpoint has in its text, whoever signed it. */
export function originOfNote(note: string): string | undefined {
  try {
    return parseCheckpoint(parseNote(note).text).origin
  } catch (error) {
    if (error instanceof LogError) return undefined
    throw error
  }
}

/** Opens a checkpoint, or says why it does not open. */
export function openOrFind(note: string, log: TrustedLog, at: string): OpenedCheckpoint | Finding {
  try {
    return openCheckpoint(note, log)
  } catch (error) {
    if (!(error instanceof LogError)) throw error
    const foreign = originOfNote(note)
    // Signed by keys that are not this log's, because it is another log's.
    const code =
      foreign !== undefined && foreign !== log.origin ? 'checkpoint_foreign' : codeOfCheckpoint(error)
    return { code, at, detail: error.detail }
  }
}
