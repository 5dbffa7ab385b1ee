/** Erasure requests as the API offers them: submit (submitting.ts), list, show, and what people do to them (deciding.ts). */
import type { DeliveryStore } from '../delivery/store.js'
import { notFound } from '../errors.js'
import { notePersonalRead, type Reader } from '../events/personal-reads.js'
import type { ErasureReference } from './contract.js'
import { createDecision, type DecisionDependencies } from './deciding.js'
import { createRequestStarter } from './request-workflow.js'
import type { RequestOpener } from './requests.js'
import type { ErasureListQuery } from './store.js'
import { createSubmission, type SubmissionDependencies } from './submitting.js'
import { detailOf, viewOf, type ErasureDetail, type ErasureView } from './view.js'

export interface ErasureServiceDependencies extends SubmissionDependencies, DecisionDependencies {
  readonly requests: RequestOpener
  readonly deliveries: Pick<DeliveryStore, 'outcomesOf'>
}

export type ErasureService = ReturnType<typeof createErasureService>

export function createErasureService(deps: ErasureServiceDependencies) {
  const { store, requests, events } = deps
  const startWorkflow = createRequestStarter(deps)
  return {
    ...createSubmission(deps, startWorkflow),
    ...createDecision(deps, startWorkflow),

    /** Newest first by submission, then id; `limit` at most. */
    async list(query: ErasureListQuery): Promise<ErasureView[]> {
      return (await store.list(query)).map(viewOf)
    },

    /**
     * One request, with what happened to it; for a reader who asks for it, and may, with the person's identifiers.
     * @throws AnnalsError `not_found`
     */
    async get(request: ErasureReference, reader: Reader | null): Promise<ErasureDetail> {
      const document = await store.find(request)
      if (document === null) throw notFound()
      const personal = reader === null ? null : await requests.personalOf(document)
      if (reader !== null && personal !== null) {
        await notePersonalRead(events, {
          organizationId: request.organizationId,
          reader,
          note: { by: 'erasure', erasure: request.requestId },
          events: 0,
          shown: [],
          leases: [],
        })
      }
      return detailOf(document, await deps.deliveries.outcomesOf(request), personal)
    },
  }
}
