/**
 * Who signs the manifests of an archive: one key for all of them (keys/signing-keys.ts, purpose `manifest`), under the
 * name `<ANNALS_LOG_ORIGIN>/archive`. Its verifier keys lie in the archive itself (`archive.keys`), one a line, newest
 * first: for who verifies it for the first time and has them from nowhere else.
 */
import type { SigningKeys } from '../keys/signing-keys.js'
import { nodeNoteCrypto, sha256 } from '../transparency-log/node-crypto.js'
import type { Signer, Verifier } from '../transparency-log/note.js'
import {
  ed25519Signer,
  ed25519Verifier,
  formatVerifierKey,
  parseVerifierKey,
  verifierKey,
} from '../transparency-log/note-key.js'

export interface ArchiveKeys {
  /** The keys that sign now, newest first. */
  signers(): Promise<Signer[]>
  /** The verifier keys as lines, newest first. */
  verifierKeys(): Promise<string[]>
  verifiers(): Promise<Verifier[]>
}

export function createArchiveKeys(keys: SigningKeys, logOrigin: string): ArchiveKeys {
  const name = `${logOrigin}/archive`
  const verifierKeys = async () =>
    (await keys.all('manifest')).map(({ pair }) =>
      formatVerifierKey(verifierKey(name, 'ed25519', pair.publicKey, sha256)),
    )
  return {
    signers: async () =>
      (await keys.signing('manifest')).map(({ pair }) => ed25519Signer(name, pair, sha256)),
    verifierKeys,
    verifiers: async () => verifiersOf(await verifierKeys()),
  }
}

/** @throws LogError `malformed_key` */
export const verifiersOf = (lines: readonly string[]): Verifier[] =>
  lines.map((line) => ed25519Verifier(parseVerifierKey(line, sha256), nodeNoteCrypto))
