/** `annals verify CERTIFICATE`. */
import { checkCertificate, type CertificateReport } from '../../verification/certificate-check.js'
import { TamperingError } from '../../verification/errors.js'
import type { CliContext } from '../context.js'
import type { Output } from '../output.js'
import { apiAddress } from '../running.js'
import { publishedKeys } from './published-keys.js'
import { findingsText, summaryOf } from './report.js'

export interface CertificateOptions {
  readonly certificateKey: readonly string[]
  readonly logKey: readonly string[]
  readonly url?: string
}

/** @throws TamperingError; TrustError; AnnalsClientError where keys have to be fetched and cannot be */
export async function verifyCertificate(
  text: string,
  options: CertificateOptions,
  context: CliContext,
  output: Output,
): Promise<void> {
  const given = options.certificateKey.length > 0
  const { url } = apiAddress(context.loadConfig(), { url: options.url })
  const certificateKeys = given ? options.certificateKey : await publishedKeys(url, '/v1/certificates/keys')
  if (!given)
    output.note(
      `verify: no --certificate-key was given; the keys come from ${url} and are trusted at first use. Keep them, and pin them the next time.`,
    )
  const report = await checkCertificate(text, { certificateKeys, logKeys: options.logKey })
  const { findings } = report
  output.result({ verdict: findings.length === 0 ? 'intact' : 'tampering', certificateKeys, ...report }, () =>
    certificateText(report),
  )
  if (findings.length > 0) throw new TamperingError(summaryOf(findings, findings.length))
}

function certificateText(report: CertificateReport): string {
  const { id, version, organizationId, outcome, issuedAt, signedBy, logKeysFrom, proofs, findings } = report
  const what = id === null ? 'a certificate' : `${id}, version ${String(version)}, of ${organizationId ?? ''}`
  return [
    `${findings.length === 0 ? 'intact' : 'TAMPERING'}  ${what}`,
    ...(outcome === null ? [] : [`  says     ${outcome}, issued ${issuedAt ?? ''}`]),
    `  signed   ${signedBy.length === 0 ? 'by no key that is trusted' : `by ${signedBy.join(', ')}`}`,
    ...proofs.map(
      ({ name, eventId, index, origin, size }) =>
        `  proof    ${name}: ${eventId} is leaf ${String(index)} of ${origin}${size === undefined ? '' : `, ${String(size)} leaves`}`,
    ),
    `  log keys ${logKeysFrom === 'given' ? 'as given' : 'as the certificate names them; give --log-key to check against your own'}`,
    ...(findings.length === 0 ? [] : [summaryOf(findings, findings.length), findingsText(findings)]),
  ].join('\n')
}
