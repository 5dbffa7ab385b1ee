/**
 * Cosignatures of witnesses: C2SP tlog-cosignature, `cosignature/v1` (Ed25519, key type 0x04).
 *
 * A witness signs, for a checkpoint whose consistency with the last one it saw it has checked:
 *
 *   cosignature/v1
 *   time <seconds since 1970, decimal>
 *   <the text of the checkpoint, all lines of it>
 *
 * and its signature line on the checkpoint's note holds the time (8 bytes, big endian) and the 64 bytes of the
 * signature. It says: at that time this was the largest tree of the log that I had seen.
 *
 * Example: the witness key `witness.example/w1+0ad7d35e+BIqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c` and its
 * cosignature, at 1679315147, of the checkpoint in tlog-proof.ts:
 *
 *   — witness.example/w1 CtfTXgAAAABkGFDLMRVE1TmZ8u7gHaOXyrFBsuB37oOetFuuKu/8dP87KUg+CsiASzRASrtD7ZR5Qhq8w3oj8xLu1Pp0W7KgmXfkDw==
 *
 * The newer ML-DSA-44 cosignatures (type 0x06) are unknown here: kept and not counted, as any unknown signature.
 */
import { concatBytes, utf8 } from './encoding.js'
import { LogError } from './errors.js'
import type { Sha256 } from './hash.js'
import type { Signer, Verifier } from './note.js'
import {
  importPublicKey,
  verifierKey,
  type NoteCrypto,
  type SigningPair,
  type VerifierKey,
} from './note-key.js'

const timestampBytes = 8
const signatureBytes = 64

/** Checks the cosignatures of one witness. @throws LogError `malformed_key` for a key of another type */
export function cosignatureVerifier(key: VerifierKey, crypto: NoteCrypto): Verifier {
  if (key.type !== 'cosignature')
    throw new LogError('malformed_key', 'the key is not one that makes cosignatures')
  const verify = importPublicKey(key, crypto)
  return {
    name: key.name,
    keyId: key.keyId,
    verify: (text, signature) => {
      const seconds = cosignatureTime(signature)
      return seconds !== undefined && verify(signedMessage(text, seconds), signature.subarray(timestampBytes))
    },
  }
}

/**
 * Makes cosignatures, as a witness does.
 * @param now seconds since 1970
 * @throws LogError `malformed_key`
 */
export function cosignatureSigner(
  name: string,
  pair: SigningPair,
  sha256: Sha256,
  now: () => number,
): Signer {
  const { keyId } = verifierKey(name, 'cosignature', pair.publicKey, sha256)
  return {
    name,
    keyId,
    sign: (text) => {
      const seconds = now()
      const time = new Uint8Array(timestampBytes)
      new DataView(time.buffer).setBigUint64(0, BigInt(seconds))
      return concatBytes([time, pair.sign(signedMessage(text, seconds))])
    },
  }
}

/** When a cosignature says it was made, in seconds since 1970; undefined where it cannot be one. */
export function cosignatureTime(signature: Uint8Array): number | undefined {
  if (signature.length !== timestampBytes + signatureBytes) return undefined
  const seconds = new DataView(signature.buffer, signature.byteOffset).getBigUint64(0)
  return seconds <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(seconds) : undefined
}

function signedMessage(text: Uint8Array, seconds: number): Uint8Array {
  return concatBytes([utf8(`cosignature/v1\ntime ${seconds}\n`), text])
}
