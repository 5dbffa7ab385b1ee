/**
 * The keys that the manifests of the archive are checked with. Public, as those of certificates: who was handed a copy of an
 * archive may have no key, and there is nothing in it about anybody. Mounted before authentication.
 */
import { Router } from 'express'
import { z } from 'zod'
import type { ApiPaths } from '../http/openapi.js'
import type { ArchiveKeys } from './segment-keys.js'

export function archiveKeysRoutes(keys: Pick<ArchiveKeys, 'verifierKeys'>): Router {
  const router = Router({ caseSensitive: true })
  router.get('/v1/archive/keys', async (_request, response) => {
    response.setHeader('cache-control', 'no-store')
    response.setHeader('content-type', 'text/plain; charset=utf-8')
    response.end((await keys.verifierKeys()).map((key) => `${key}\n`).join(''))
  })
  return router
}

export const archiveKeysPaths: ApiPaths = {
  '/v1/archive/keys': {
    get: {
      tags: ['archive'],
      summary: 'The keys that sign the manifests of archived segments',
      description:
        'Verifier keys, one a line, newest first; `annals verify ARCHIVE --archive-key` takes them.',
      security: [],
      responses: {
        '200': {
          description: 'Every key that ever signed one.',
          content: { 'text/plain': { schema: z.string() } },
        },
      },
    },
  },
}
