/**
 * A certificate, offline (certificates/contract.ts has its format): signature → what is signed → what people read of it,
 * and from there to the log: each proof → record → event, and what the certificate says of an erasure against what the
 * sealed events say. Shares no code with what issues it.
 *
 * The keys of the log may be given; without them those that the certificate names are taken, which its signature
 * vouches for. The keys of certificates have to be: no certificate vouches for itself.
 */
import { flattenedVerify, type JWK } from 'jose'
import { z } from 'zod'
import { LogError } from '../transparency-log/errors.js'
import { nodeNoteCrypto, sha256 } from '../transparency-log/node-crypto.js'
import { parseVerifierKey } from '../transparency-log/note-key.js'
import {
  checkErasure,
  checkOffboarding,
  offboardingKind,
  proofSchema,
  systemOrganization,
  type CertificateProof,
} from './certificate-kinds.js'
import type { Finding, FindingCode } from './contract.js'
import { TrustError } from './errors.js'
import { jsonOf } from './event-values.js'
import { nodeRules } from './node-rules.js'
import { checkReceipt, receiptOfText } from './receipt-check.js'
import { trustedLog } from './trust.js'

export interface CertificateTrust {
  /** Verifier keys of certificates. */
  readonly certificateKeys: readonly string[]
  /** Verifier keys of the log; none = those that the certificate names. */
  readonly logKeys: readonly string[]
}

export interface CertificateReport {
  /** null where nothing of it could be read. */
  readonly kind: string | null
  readonly id: string | null
  readonly organizationId: string | null
  readonly version: number | null
  readonly issuedAt: string | null
  readonly outcome: string | null
  /** The keys whose signatures verify. */
  readonly signedBy: readonly string[]
  readonly logKeysFrom: 'given' | 'certificate'
  readonly proofs: readonly ProofReport[]
  readonly findings: readonly Finding[]
}

export interface ProofReport {
  readonly name: string
  readonly eventId: string
  readonly origin: string
  readonly index: number
  readonly size: number | undefined
}

const maxSignatures = 16
const signatureSchema = z.object({ protected: z.string(), signature: z.string() })
const fileSchema = z.object({
  certificate: z.record(z.string(), z.unknown()),
  payload: z.string(),
  signatures: z.array(signatureSchema).min(1).max(maxSignatures),
})
const headerSchema = z.object({
  alg: z.literal('EdDSA'),
  kid: z.string(),
  typ: z.literal('annals-certificate'),
})
const headSchema = z.object({
  v: z.literal(1),
  kind: z.string(),
  issuer: z.string(),
  organizationId: z.string(),
  id: z.string(),
  version: z.int(),
  issuedAt: z.string(),
  outcome: z.string().optional(),
  proofs: z.record(z.string(), proofSchema),
})
type Head = z.infer<typeof headSchema>

/** Is it a certificate that this text is, or tries to be? */
export function isCertificate(text: string): boolean {
  const json = jsonOf(text)
  return typeof json === 'object' && json !== null && 'payload' in json && 'signatures' in json
}

/** Never throws for what the certificate holds. @throws TrustError where the keys that are given are none, or missing */
export async function checkCertificate(text: string, trust: CertificateTrust): Promise<CertificateReport> {
  const keys = certificateKeys(trust.certificateKeys)
  const findings: Finding[] = []
  const say = (code: FindingCode, at: string, detail: string) => void findings.push({ code, at, detail })
  const none = { kind: null, id: null, organizationId: null, version: null, issuedAt: null, outcome: null }
  const base = {
    ...none,
    signedBy: [],
    logKeysFrom: trust.logKeys.length > 0 ? ('given' as const) : ('certificate' as const),
    proofs: [],
    findings,
  }

  const file = fileSchema.safeParse(jsonOf(text))
  if (!file.success) {
    say('certificate_malformed', 'file', 'it has not the form of a signed certificate')
    return base
  }
  const { certificate, payload, signatures } = file.data
  const signedBy: string[] = []
  for (const [index, signature] of signatures.entries()) {
    const at = `signatures[${String(index)}]`
    const header = headerSchema.safeParse(jsonOf(utf8(signature.protected)))
    if (!header.success) {
      say('certificate_invalid', at, 'it is not a signature of a certificate: of another algorithm or type')
      continue
    }
    const { kid } = header.data
    const key = keys.get(kid)
    // A key that is not given, around a rotation, is nobody's word for or against it.
    if (key === undefined) continue
    if (await verifies(payload, signature, key)) signedBy.push(kid)
    else say('certificate_invalid', at, 'the signature does not verify: what is signed was altered')
  }
  if (signedBy.length === 0 && findings.length === 0)
    say('certificate_foreign', 'signatures', 'none of the keys that are trusted has signed it')

  const signed = jsonOf(utf8(payload))
  const differs = difference(certificate, signed, 'certificate')
  if (differs !== undefined)
    say('certificate_differs', differs, 'what is written here is not what was signed')
  const head = headSchema.safeParse(signed)
  if (!head.success) {
    say('certificate_malformed', 'payload', 'what is signed is no certificate')
    return base
  }
  const { proofs, ...body } = head.data
  const report = { ...base, ...body, outcome: body.outcome ?? null, signedBy }
  if (signedBy.length === 0) return report
  // Who is trusted with one issuer's certificates is not with another's.
  if (!signedBy.some((kid) => kid.startsWith(`${body.issuer}/certificates+`)))
    say('certificate_foreign', 'issuer', 'it is signed by the key of another issuer than it names')
  const checked = Object.entries(proofs).map(([name, proof]) =>
    checkProof(name, proof, head.data, trust.logKeys, findings),
  )
  if (body.kind === 'annals/erasure/certificate') checkErasure(signed, body.id, findings)
  if (body.kind === offboardingKind) checkOffboarding(signed, body, findings)
  return { ...report, proofs: checked }
}

/** @throws TrustError */
function certificateKeys(lines: readonly string[]): ReadonlyMap<string, JWK> {
  if (lines.length === 0) throw new TrustError('A verifier key of certificates is needed.')
  const keys = new Map<string, JWK>()
  for (const line of lines) {
    try {
      const { name, keyId, type, publicKey } = parseVerifierKey(line.trim(), sha256)
      if (type !== 'ed25519' || !name.endsWith('/certificates'))
        throw new TrustError(`The key of ${name} is of another purpose than certificates.`)
      const x = Buffer.from(publicKey).toString('base64url')
      keys.set(`${name}+${keyId.toString(16).padStart(8, '0')}`, { kty: 'OKP', crv: 'Ed25519', x })
    } catch (error) {
      if (error instanceof LogError) throw new TrustError(`A verifier key is none: ${error.detail}.`)
      throw error
    }
  }
  return keys
}

async function verifies(
  payload: string,
  { protected: header, signature }: z.infer<typeof signatureSchema>,
  key: JWK,
): Promise<boolean> {
  try {
    await flattenedVerify({ payload, protected: header, signature }, key, { algorithms: ['EdDSA'] })
    return true
  } catch {
    return false
  }
}

/** In which log its events stand: an organization that is gone has none. */
const logOf = ({ kind, organizationId }: Head): string =>
  kind === offboardingKind ? systemOrganization : organizationId

/** Adds what does not hold of one proof to the findings. */
function checkProof(
  name: string,
  { eventId, action, log, receipt, record, event }: CertificateProof,
  head: Head,
  given: readonly string[],
  findings: Finding[],
): ProofReport {
  const at = `proofs.${name}`
  const { issuer } = head
  const organizationId = logOf(head)
  const say = (code: FindingCode, where: string, detail: string) =>
    void findings.push({ code, at: `${at}.${where}`, detail })
  const report = { name, eventId, origin: log.origin, index: -1, size: undefined }
  const ofIssuer = log.origin.startsWith(`${issuer}/${organizationId}/`)
  if (!ofIssuer || !/\/[1-9]\d*$/.test(log.origin))
    say('checkpoint_foreign', 'log.origin', 'it is the log of another organization, or of another issuer')
  const fitting = given.filter((key) => key.startsWith(`${log.origin}+`))
  let read: ReturnType<typeof receiptOfText>
  let trusted: ReturnType<typeof trustedLog>
  try {
    read = receiptOfText(receipt, record)
  } catch (error) {
    if (!(error instanceof LogError)) throw error
    say('proof_invalid', 'receipt', error.detail)
    return report
  }
  try {
    trusted = trustedLog(given.length === 0 ? log.keys : fitting.length > 0 ? fitting : given, nodeNoteCrypto)
  } catch (error) {
    // Given ones are the caller's own.
    if (given.length > 0 || !(error instanceof TrustError)) throw error
    say('checkpoint_foreign', 'log.keys', 'the keys that it names for the log are none, or of several logs')
    return report
  }
  if (trusted.origin !== log.origin)
    say('checkpoint_foreign', 'log.keys', `the keys are those of ${trusted.origin}`)
  const checked = checkReceipt({ ...read, event }, trusted, nodeRules.hasher, nodeRules.checkEvent)
  for (const finding of checked.findings) findings.push({ ...finding, at: `${at}.${finding.at}` })
  const said = recordSchema.safeParse(jsonOf(record))
  const same =
    said.data?.organizationId === organizationId &&
    said.data.id === eventId &&
    said.data.action === action &&
    said.data.category === 'system'
  if (!same) say('certificate_differs', 'record', 'the record is of another event than the certificate says')
  return { ...report, index: checked.index, size: checked.size }
}

const recordSchema = z.object({
  organizationId: z.string(),
  id: z.string(),
  action: z.string(),
  category: z.string(),
})

/** Where two JSON values first differ, as a path; undefined = nowhere. */
function difference(a: unknown, b: unknown, path: string): string | undefined {
  if (Object.is(a, b)) return undefined
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return path
  if (Array.isArray(a) !== Array.isArray(b)) return path
  const [left, right] = [new Map(Object.entries(a)), new Map(Object.entries(b))]
  for (const key of new Set([...left.keys(), ...right.keys()])) {
    const at = Array.isArray(a) ? `${path}[${key}]` : `${path}.${key}`
    if (!left.has(key) || !right.has(key)) return at
    const found = difference(left.get(key), right.get(key), at)
    if (found !== undefined) return found
  }
  return undefined
}

const utf8 = (base64url: string): string => Buffer.from(base64url, 'base64url').toString('utf8')
