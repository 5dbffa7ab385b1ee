/**
 * Notes that a further certificate was issued: a line of evidence in the request, and `annals.erasure.completed` in the log
 * of the organization, in one transaction, once for each version. The request stays as it ended: what counts of what is
 * kept says its newest certificate.
 */
import type { MongoClient } from 'mongodb'
import { notFound } from '../errors.js'
import type { SystemEventWriter } from '../events/contract.js'
import { inTransaction } from '../mongo/transaction.js'
import type { ErasureReference } from './contract.js'
import type { IssuedCertificate } from './issuing.js'
import { eventOf } from './changes.js'
import type { ErasureStore } from './store.js'

const maxAttempts = 10

export function createRevisedNote(deps: {
  readonly client: MongoClient
  readonly store: Pick<ErasureStore, 'find' | 'change'>
  readonly events: Pick<SystemEventWriter, 'writeInTransaction'>
  readonly now?: () => Date
}) {
  const { client, store, events, now = () => new Date() } = deps
  return async (
    request: ErasureReference,
    { version, outcome }: Pick<IssuedCertificate, 'version' | 'outcome'>,
  ): Promise<void> => {
    for (let attempt = 0; attempt < maxAttempts; attempt += 1) {
      const document = await store.find(request)
      if (document === null) throw notFound()
      const { state, evidence } = document
      // The first certificate is noted with the end of the request.
      if (evidence.filter(({ event }) => event === 'exceptions_ended').length >= version - 1) return
      const at = now()
      const line = { event: 'exceptions_ended', at, by: null, state } as const
      const noted = await inTransaction(client, async (session) => {
        if (!(await store.change(request, document.version, { set: {}, evidence: line }, session)))
          return false
        const metadata = { state: outcome, certificate: version }
        await events.writeInTransaction(
          eventOf(request, 'annals.erasure.completed', at, null, metadata),
          session,
        )
        return true
      })
      if (noted) return
    }
    throw new Error('a request was changed by others each time that a certificate was to be noted')
  }
}
