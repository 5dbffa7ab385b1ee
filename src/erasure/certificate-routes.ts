/** `GET …/erasures/:id/certificate`: the signed file, byte for byte as it was issued, or a page that shows it. */
import { Router } from 'express'
import { ArchiveStoreError } from '../archive/stores/contract.js'
import type { StoredCertificate } from '../certificates/store.js'
import { AnnalsError, notFound } from '../errors.js'
import { authorize } from '../http/authentication.js'
import { erasureCertificateFileSchema } from './certificate.js'
import { certificatePage } from './certificate-page.js'
import { erasureIdPattern, type ErasureReference } from './contract.js'
import type { ErasureCertificates } from './issuing.js'
import type { ErasureStore } from './store.js'

export interface CertificateRoutesDependencies {
  readonly requests: Pick<ErasureStore, 'find'>
  readonly certificates: Pick<ErasureCertificates, 'find'>
  /** @throws AnnalsError `not_found` | `wrong_region` */
  readonly requireOrganization: (organizationId: string) => Promise<unknown>
}

const retryAfterSeconds = 5

/** Expects `requestContext` and `authentication` before it, and the problem handler behind it. */
export function erasureCertificateRoutes(deps: CertificateRoutesDependencies): Router {
  const router = Router({ caseSensitive: true })
  router.get('/v1/organizations/:org/erasures/:id/certificate', async (request, response) => {
    const organizationId = request.params.org
    authorize(response, 'erasure.submit', organizationId)
    await deps.requireOrganization(organizationId)
    const stored = await certificateOf({ organizationId, requestId: request.params.id })
    response.setHeader('cache-control', 'no-store')
    response.vary('Accept')
    if (request.accepts(['application/json', 'text/html']) === 'text/html') {
      const { certificate, kids } = read(stored)
      const { html, policy } = certificatePage(certificate, { sha256: stored.sha256, kids })
      response.setHeader('content-security-policy', policy)
      response.setHeader('content-type', 'text/html; charset=utf-8')
      response.end(html)
      return
    }
    response.setHeader('content-type', 'application/json; charset=utf-8')
    response.setHeader('content-disposition', `inline; filename="${request.params.id}.json"`)
    response.end(stored.bytes)
  })

  async function certificateOf(request: ErasureReference): Promise<StoredCertificate> {
    const found = erasureIdPattern.test(request.requestId) ? await deps.requests.find(request) : null
    if (found === null) throw notFound()
    if (found.state !== 'completed' && found.state !== 'completed_with_exceptions')
      throw new AnnalsError('not_complete', 'The erasure is not complete: there is no certificate of it.')
    try {
      const stored = await deps.certificates.find(request)
      if (stored !== undefined) return stored
    } catch (error) {
      if (!(error instanceof ArchiveStoreError)) throw error
      throw new AnnalsError('unavailable', 'The ledger, where certificates lie, is away.', {
        retryAfterSeconds,
        cause: error,
      })
    }
    throw new AnnalsError('not_complete', 'No certificate was issued for this erasure.')
  }
  return router
}

function read({ bytes }: StoredCertificate) {
  const { certificate, signatures } = erasureCertificateFileSchema.parse(JSON.parse(bytes.toString('utf8')))
  const kids = signatures.map(({ protected: header }): string => {
    const { kid } = JSON.parse(Buffer.from(header, 'base64url').toString('utf8')) as { kid?: unknown }
    return typeof kid === 'string' ? kid : ''
  })
  return { certificate, kids }
}
