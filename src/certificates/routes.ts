/**
 * The keys that certificates are checked with. Public: whoever was handed one may have no key, and there is nothing in it
 * about anybody. Mounted before authentication.
 */
import { Router } from 'express'
import { z } from 'zod'
import type { ApiPaths } from '../http/openapi.js'
import type { CertificateKeys } from './keys.js'

const jwkSet = 'application/jwk-set+json'

export function certificateRoutes(keys: CertificateKeys): Router {
  const router = Router({ caseSensitive: true })
  router.get('/v1/certificates/keys', async (request, response) => {
    response.setHeader('cache-control', 'no-store')
    response.vary('Accept')
    const wanted = request.accepts(['text/plain', jwkSet, 'application/json'])
    if (wanted === jwkSet || wanted === 'application/json') {
      response.setHeader('content-type', wanted)
      response.end(JSON.stringify({ keys: await keys.jwks() }))
      return
    }
    response.setHeader('content-type', 'text/plain; charset=utf-8')
    response.end((await keys.verifierKeys()).map((key) => `${key}\n`).join(''))
  })
  return router
}

const jwkSchema = z.object({
  kty: z.literal('OKP'),
  crv: z.literal('Ed25519'),
  x: z.string(),
  kid: z.string(),
  alg: z.string(),
  use: z.literal('sig'),
})

export const certificatePaths: ApiPaths = {
  '/v1/certificates/keys': {
    get: {
      tags: ['erasures'],
      summary: 'The keys that sign certificates',
      description: 'Verifier keys, one a line, newest first; or a JWK set.',
      security: [],
      responses: {
        '200': {
          description: 'Every key that ever signed one.',
          content: {
            'text/plain': { schema: z.string() },
            [jwkSet]: { schema: z.object({ keys: z.array(jwkSchema) }) },
          },
        },
      },
    },
  },
}
