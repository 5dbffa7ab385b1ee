/** `/openapi.json`: one document, made from the Zod schemas that the routes parse with. */
import { z } from 'zod'
import {
  createDocument,
  type ZodOpenApiPathItemObject,
  type ZodOpenApiPathsObject,
  type ZodOpenApiResponsesObject,
} from 'zod-openapi'
import { errorCodes, fieldErrorCodes, type ErrorCode } from '../errors.js'
import { problemTable } from './problem-table.js'

export type ApiPaths = ZodOpenApiPathsObject
export type ApiDocument = ReturnType<typeof createDocument>

/** RFC 9457, with Annals' own members. */
export const problemSchema = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    code: z.enum(errorCodes),
    detail: z.string(),
    requestId: z.string(),
    errors: z
      .array(z.object({ path: z.string(), code: z.enum(fieldErrorCodes), message: z.string() }))
      .optional(),
  })
  .meta({ id: 'Problem', description: 'RFC 9457. What each code means stands at /docs/errors.' })

/**
 * The answers of a route that fails with these codes, for its `responses`. Codes of one status share an answer.
 * `unauthenticated` and `unavailable` are always in it.
 */
export function problemResponses(...codes: readonly ErrorCode[]): ZodOpenApiResponsesObject {
  const byStatus = new Map<number, ErrorCode[]>()
  for (const code of new Set<ErrorCode>(['unauthenticated', ...codes, 'unavailable'])) {
    const { status } = problemTable[code]
    byStatus.set(status, [...(byStatus.get(status) ?? []), code])
  }
  return Object.fromEntries(
    [...byStatus].map(([status, same]) => [
      statusKey(status),
      {
        description: same.map((code) => `\`${code}\`: ${problemTable[code].title}.`).join(' '),
        content: { 'application/problem+json': { schema: problemSchema } },
      },
    ]),
  )
}

/** A body in JSON, for `content`. */
export const jsonContent = <Schema extends z.ZodType>(schema: Schema) => ({ 'application/json': { schema } })

/** The header of routes that may be repeated. */
export const idempotencyKeyHeader = z.object({
  'Idempotency-Key': z
    .string()
    .max(256)
    .optional()
    .meta({ description: 'A repeat under the same key changes nothing.' }),
})

/** OpenAPI's types want the class of a status to be seen. */
const statusKey = (status: number) => {
  const rest = String(status).slice(1)
  return status < 500 ? (`4${rest}` as const) : (`5${rest}` as const)
}

const description = `Audit logs that prove themselves, and forget a person on request.

Send a key as \`Authorization: Bearer …\`. Every failure is an \`application/problem+json\` document with a stable
\`code\`; a 429 or 503 says in \`Retry-After\` when to try again, and a retry with the same \`Idempotency-Key\` stores
nothing twice.`

const methods = ['get', 'put', 'post', 'delete'] as const

/** Every route can answer `unauthenticated` and `unavailable`, whether or not its domain says so. */
function withCommonAnswers(item: ZodOpenApiPathItemObject): ZodOpenApiPathItemObject {
  const complete: ZodOpenApiPathItemObject = { ...item }
  for (const method of methods) {
    const operation = item[method]
    if (operation === undefined) continue
    complete[method] = { ...operation, responses: { ...problemResponses(), ...operation.responses } }
  }
  return complete
}

/** @param paths what each domain exports for its routes; the same path may be in several */
export function buildApiDocument(
  paths: readonly ApiPaths[],
  { version, publicUrl }: { readonly version: string; readonly publicUrl?: string | undefined },
): ApiDocument {
  const merged: ApiPaths = {}
  for (const part of paths) {
    for (const [path, item] of Object.entries(part))
      merged[path] = { ...merged[path], ...withCommonAnswers(item) }
  }
  return createDocument({
    openapi: '3.1.1',
    info: { title: 'Annals', version, description },
    ...(publicUrl === undefined ? {} : { servers: [{ url: publicUrl }] }),
    security: [{ accessKey: [] }],
    components: {
      securitySchemes: {
        accessKey: { type: 'http', scheme: 'bearer', description: 'An access key of Annals' },
      },
    },
    paths: merged,
  })
}
