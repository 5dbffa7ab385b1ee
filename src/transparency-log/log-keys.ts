/**
 * Who signs for a log, and under which name.
 *
 * A log's origin is `<ANNALS_LOG_ORIGIN>/<organization>/<generation>`, and C2SP wants the key's name to be that
 * origin. One Ed25519 key for checkpoints serves all logs of a deployment: name and public key together make the key
 * id, so that each log has verifier keys of its own, and a checkpoint of one never passes for another's (its text
 * begins with the origin). docs/decisions/sealing.md says why.
 */
import type { SigningKeys } from '../keys/signing-keys.js'
import { sha256 } from './node-crypto.js'
import type { Signer } from './note.js'
import { ed25519Signer, verifierKey, type VerifierKey } from './note-key.js'

export interface LogKeys {
  /** The origin of an organization's log. */
  origin(organizationId: string, generation: number): string
  /** The keys that sign a log's checkpoints now, newest first: two of them for a while after a rotation. */
  signers(origin: string): Promise<Signer[]>
  /** The keys that verify a log's checkpoints, newest first; `formatVerifierKey` makes the published lines. */
  verifierKeys(origin: string): Promise<VerifierKey[]>
}

export function createLogKeys(keys: SigningKeys, logOrigin: string): LogKeys {
  return {
    origin: (organizationId, generation) => `${logOrigin}/${organizationId}/${String(generation)}`,
    async signers(origin) {
      return (await keys.signing('checkpoint')).map(({ pair }) => ed25519Signer(origin, pair, sha256))
    },
    async verifierKeys(origin) {
      return (await keys.all('checkpoint')).map(({ pair }) =>
        verifierKey(origin, 'ed25519', pair.publicKey, sha256),
      )
    },
  }
}
