/**
 * Who signs for the anchor log, and under which name: its origin is `<ANNALS_LOG_ORIGIN>/anchor`, and
 * `<ANNALS_LOG_ORIGIN>/anchor.<generation>` once `annals log restart --anchor` has opened another one. Origins of
 * organizations' logs have one part more, so none can be taken for it. It has a key of its own.
 */
import type { SigningKeys } from '../../keys/signing-keys.js'
import { sha256 } from '../node-crypto.js'
import type { Signer } from '../note.js'
import { ed25519Signer, verifierKey, type VerifierKey } from '../note-key.js'

export interface AnchorKeys {
  origin(generation: number): string
  /** Newest first. */
  signers(generation: number): Promise<Signer[]>
  /** The keys that verify, newest first. */
  verifierKeys(generation: number): Promise<VerifierKey[]>
}

export function createAnchorKeys(keys: SigningKeys, logOrigin: string): AnchorKeys {
  const origin = (generation: number) =>
    generation === 1 ? `${logOrigin}/anchor` : `${logOrigin}/anchor.${String(generation)}`
  return {
    origin,
    async signers(generation) {
      return (await keys.signing('anchor')).map(({ pair }) => ed25519Signer(origin(generation), pair, sha256))
    },
    async verifierKeys(generation) {
      return (await keys.all('anchor')).map(({ pair }) =>
        verifierKey(origin(generation), 'ed25519', pair.publicKey, sha256),
      )
    },
  }
}
