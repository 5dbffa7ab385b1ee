/** `/metrics`, for Prometheus. */
import { createHash, timingSafeEqual } from 'node:crypto'
import { Router } from 'express'
import { AnnalsError } from '../errors.js'
import type { Metrics } from '../metrics.js'

const digest = (text: string): Buffer => createHash('sha256').update(text).digest()

/** @param token absent = open to whoever reaches the port */
export function metricsRouter(metrics: Metrics, token: string | undefined): Router {
  const expected = token === undefined ? undefined : digest(`Bearer ${token}`)
  const router = Router()
  router.get('/metrics', async (request, response) => {
    if (expected !== undefined && !timingSafeEqual(digest(request.headers.authorization ?? ''), expected)) {
      throw new AnnalsError('unauthenticated', 'The metrics of this deployment need their token.')
    }
    const { contentType, body } = await metrics.render()
    response.setHeader('content-type', contentType)
    response.end(body)
  })
  return router
}
