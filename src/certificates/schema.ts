/** What every certificate says (contract.ts), as a schema: each kind adds what it alone says. */
import { z } from 'zod'
import type { CertificateProof } from './contract.js'

export const certificateTime = z.iso.datetime()
export const certificateCount = z.int().min(0)
export const certificateHash = z.string().regex(/^[0-9a-f]{64}$/)

export const certificateProofSchema = z.object({
  eventId: z.string(),
  action: z.string(),
  log: z.object({ origin: z.string(), keys: z.array(z.string()) }),
  receipt: z.string().meta({ description: 'A C2SP tlog-proof, with its checkpoint.' }),
  record: z.string().meta({ description: 'The canonical JSON whose leaf hash is proved.' }),
  event: z.record(z.string(), z.json()).meta({ description: 'The event in its verifiable form.' }),
})

/** The members that come first. */
export const certificateHead = <Kind extends string>(kind: Kind) => ({
  v: z.literal(1),
  kind: z.literal(kind),
  issuer: z.string(),
  organizationId: z.string(),
  id: z.string(),
  version: z.int().positive(),
  supersedes: certificateHash.nullable(),
  issuedAt: certificateTime,
})

export const certificateFileSchema = <Certificate extends z.ZodType>(certificate: Certificate) =>
  z.object({
    certificate,
    payload: z.string(),
    signatures: z.array(z.object({ protected: z.string(), signature: z.string() })),
  })

/** A proof as a certificate carries it. */
export const provedBy = ({ log, ...proof }: CertificateProof): z.infer<typeof certificateProofSchema> => ({
  ...proof,
  log: { origin: log.origin, keys: [...log.keys] },
  event: { ...proof.event },
})
