/** Makes the file of a certificate (contract.ts): the same certificate under the same keys makes the same bytes. */
import { GeneralSign } from 'jose'
import { canonicalJson } from '../events/canonical-json.js'
import type { JsonObject } from '../events/contract.js'
import { certificateAlgorithm, certificateType, type CertificateHead } from './contract.js'
import type { CertificateSigner } from './keys.js'

/** @returns the bytes of the file, UTF-8 JSON with a newline at its end */
export async function signCertificate(
  certificate: CertificateHead & JsonObject,
  signers: readonly CertificateSigner[],
): Promise<Buffer> {
  if (signers.length === 0) throw new Error('a certificate was to be issued without a key')
  const jws = new GeneralSign(Buffer.from(canonicalJson(certificate)))
  for (const { kid, privateKey } of signers) {
    jws.addSignature(privateKey).setProtectedHeader({ alg: certificateAlgorithm, kid, typ: certificateType })
  }
  const { payload, signatures } = await jws.sign()
  return Buffer.from(`${JSON.stringify({ certificate, payload, signatures }, null, 2)}\n`)
}
