/** What `/openapi.json` says about reading logs, from the schemas the routes parse with. */
import { z } from 'zod'
import { problemResponses, type ApiPaths } from '../http/openapi.js'
import { organizationIdSchema } from '../organizations/settings.js'
import { anchorStates } from './receipts.js'
import { consistencyQuerySchema, feedQuerySchema, leavesBodySchema, proofQuerySchema } from './read-schema.js'

const json = (schema: z.ZodType) => ({ 'application/json': { schema } })
const plainText = { 'text/plain': { schema: z.string() } }
const bytes = { 'application/octet-stream': { schema: z.string().meta({ format: 'binary' }) } }
const org = organizationIdSchema
const generation = z
  .string()
  .regex(/^[1-9]\d*$/)
  .meta({ description: 'Generation of the log, from 1.' })
const place = z.string().meta({
  description: '`<level>/<index>[.p/<width>]` or `entries/<index>[.p/<width>]`, as in C2SP tlog-tiles.',
})

const consistencySchema = z
  .object({ from: z.int(), to: z.int(), proof: z.array(z.string()) })
  .meta({ id: 'ConsistencyProof', description: 'RFC 6962 section 2.1.2, hashes in standard base64.' })

const verifiableEventSchema = z
  .record(z.string(), z.unknown())
  .nullable()
  .meta({ id: 'VerifiableEvent', description: 'The event with salts and commitments: docs/formats.md.' })

const anchorStateSchema = z.enum(anchorStates).meta({
  description: '`not_anchored`: no entry of the anchor log has it yet; entries are a minute apart.',
})

const anchorProofSchema = z.object({
  logId: z.string(),
  size: z.int(),
  root: z.string(),
  salt: z.string(),
  logsProof: z.array(z.string()),
  entry: z.string(),
  index: z.int(),
  proof: z.array(z.string()),
  checkpoint: z.string(),
})

const logAnchorSchema = z
  .object({ anchorState: anchorStateSchema, anchor: anchorProofSchema.nullable() })
  .meta({
    id: 'LogAnchor',
    description: "The proof that the anchor log has a tree of this log, with witnesses' cosignatures.",
  })

const proofSchema = z
  .object({
    organizationId: z.string(),
    id: z.string(),
    generation: z.int(),
    index: z.int(),
    size: z.int(),
    leafHash: z.string(),
    sealedAt: z.string().meta({ format: 'date-time' }),
    record: z.string().nullable().meta({ description: 'Canonical JSON, the bytes that were hashed.' }),
    proof: z.array(z.string()),
    checkpoint: z.string(),
    anchorState: anchorStateSchema,
    anchor: anchorProofSchema
      .extend({ recordProof: z.array(z.string()) })
      .nullable()
      .meta({ description: 'The same record in the anchored tree.' }),
    event: verifiableEventSchema.optional(),
    accounts: z
      .array(z.object({ receipt: z.looseObject({}), manifest: z.string() }))
      .optional()
      .meta({
        description:
          'Why values of the event are gone: receipts of the sealed events that say so, each with the manifest that it names.',
      }),
  })
  .meta({ id: 'EventProof' })

const logPlace = z.object({ generation: z.int(), index: z.int(), sealedAt: z.string() })
const feedSchema = z
  .object({
    data: z.array(z.looseObject({ id: z.string(), log: logPlace })),
    next: z.string().nullable().meta({ description: 'For `after`; null before the first event.' }),
  })
  .meta({ id: 'FeedPage', description: 'Events in leaf order, as the list shows them, each with its leaf.' })

const leavesSchema = z.object({
  data: z.array(
    z.union([
      z.object({ id: z.string(), generation: z.int(), index: z.int(), leafHash: z.string() }),
      z.object({ id: z.string(), pending: z.literal(true) }),
    ]),
  ),
})

function logPaths(prefix: string, path: z.ZodObject, which: string): ApiPaths {
  return {
    [`${prefix}/checkpoint`]: {
      get: {
        tags: ['log'],
        summary: `The newest checkpoint ${which}`,
        description: 'A C2SP signed note. It commits to every event that is sealed.',
        requestParams: { path },
        responses: {
          '200': { description: 'The signed note.', content: plainText },
          ...problemResponses('forbidden', 'not_found', 'wrong_region', 'not_sealed'),
        },
      },
    },
    [`${prefix}/tile/{place}`]: {
      get: {
        tags: ['log'],
        summary: `A tile or an entry bundle ${which}`,
        description:
          'Full ones never change and may be cached; partial ones of every earlier size are there.',
        requestParams: { path: path.extend({ place }) },
        responses: {
          '200': { description: 'Hashes of 32 bytes each, or records with their lengths.', content: bytes },
          ...problemResponses('forbidden', 'not_found', 'wrong_region', 'not_sealed'),
        },
      },
    },
    [`${prefix}/keys`]: {
      get: {
        tags: ['log'],
        summary: `The verifier keys ${which}`,
        requestParams: { path },
        responses: {
          '200': { description: 'One a line, newest first.', content: plainText },
          ...problemResponses('forbidden', 'not_found', 'wrong_region'),
        },
      },
    },
    [`${prefix}/anchor`]: {
      get: {
        tags: ['log'],
        summary: `The newest anchored tree ${which}`,
        requestParams: { path },
        responses: {
          '200': { description: 'The anchor proof, where there is one.', content: json(logAnchorSchema) },
          ...problemResponses('forbidden', 'not_found', 'wrong_region'),
        },
      },
    },
    [`${prefix}/consistency`]: {
      get: {
        tags: ['log'],
        summary: `A consistency proof ${which}`,
        requestParams: { path, query: consistencyQuerySchema },
        responses: {
          '200': { description: 'The proof.', content: json(consistencySchema) },
          ...problemResponses(
            'forbidden',
            'not_found',
            'wrong_region',
            'not_sealed',
            'invalid',
            'log_damaged',
          ),
        },
      },
    },
  }
}

export const logReadPaths: ApiPaths = {
  ...logPaths('/v1/organizations/{org}/log', z.object({ org }), 'of the log'),
  ...logPaths(
    '/v1/organizations/{org}/log/{generation}',
    z.object({ org, generation }),
    'of one generation of the log',
  ),
  '/v1/organizations/{org}/log/manifests/{sha256}': {
    get: {
      tags: ['log'],
      summary: 'What an erasure took, by the hash that its sealed event names',
      description: 'References, event ids, slots and commitments; no identifier. docs/erasure.md.',
      requestParams: { path: z.object({ org, sha256: z.string().regex(/^[0-9a-f]{64}$/) }) },
      responses: {
        '200': { description: 'The manifest, RFC 8785 JSON.', content: bytes },
        ...problemResponses('forbidden', 'not_found', 'wrong_region'),
      },
    },
  },
  '/v1/organizations/{org}/log/leaves': {
    post: {
      tags: ['log'],
      summary: 'Where events are in the log',
      description:
        'An accepted event that is not sealed yet is `pending`; what was never accepted is absent from the answer.',
      requestParams: { path: z.object({ org }) },
      requestBody: { required: true, content: json(leavesBodySchema) },
      responses: {
        '200': { description: 'The leaf of each.', content: json(leavesSchema) },
        ...problemResponses('forbidden', 'not_found', 'wrong_region', 'invalid'),
      },
    },
  },
  '/v1/organizations/{org}/events/{id}/proof': {
    get: {
      tags: ['log'],
      summary: 'The receipt of an event',
      description:
        'A C2SP tlog-proof; with `Accept: application/json` its parts, and the record they prove. Both carry the anchor proof (docs/formats.md) where there is one already.',
      requestParams: { path: z.object({ org, id: z.string() }), query: proofQuerySchema },
      responses: {
        '200': { description: 'The receipt.', content: { ...plainText, ...json(proofSchema) } },
        ...problemResponses('forbidden', 'not_found', 'wrong_region', 'not_sealed', 'invalid', 'log_damaged'),
      },
    },
  },
  '/v1/organizations/{org}/feed': {
    get: {
      tags: ['events'],
      summary: 'Follow events in the order of the log',
      description:
        'Nothing ever appears behind a reader. An event whose content is not in the hot store has `content: "absent"`.',
      requestParams: { path: z.object({ org }), query: feedQuerySchema },
      responses: {
        '200': { description: 'A page; empty where nothing came in time.', content: json(feedSchema) },
        ...problemResponses(
          'cursor_invalid',
          'forbidden',
          'not_found',
          'wrong_region',
          'invalid',
          'overloaded',
        ),
      },
    },
  },
}
