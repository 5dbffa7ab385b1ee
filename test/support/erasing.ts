/** Runs the erasing steps of a request on a real database, without the months that Temporal waits in between. */
import type { Core } from '../../src/composition.js'
import type {
  Attestation,
  ErasureIdentifier,
  ErasureReference,
  OpenedErasureRequest,
  ScopeReport,
} from '../../src/erasure/contract.js'
import type { Completing } from '../../src/erasure/completing.js'
import { createErasing, type Erasing, type ErasingDependencies } from '../../src/erasure/erasing.js'
import { scope } from '../../src/erasure/scoping.js'
import { newId, newReference } from '../../src/ids.js'

export interface ErasingRun extends ErasureReference {
  readonly opened: OpenedErasureRequest
  readonly erasing: Erasing
  readonly completing: Completing
  readonly deps: ErasingDependencies
  readonly report: () => ScopeReport
  scope(): Promise<string>
  /** fence, prepare, erase, verify */
  toVerified(): Promise<string>
}

export interface ErasingRunOptions extends Partial<
  Pick<OpenedErasureRequest, 'exempt' | 'confirmed' | 'jointFreeText' | 'requestId'>
> {
  /** What officers have attested; added to while a test runs. */
  readonly attestations?: readonly Attestation[]
  /** Wait until every lease has run out, as erasing does; without it no other process may hold one. */
  readonly leases?: true
  /** Replaces parts of what the steps work with: for faults. */
  readonly deps?: (deps: ErasingDependencies) => ErasingDependencies
}

const nothing = () => undefined

/** A request that two officers agree on. */
export function erasingRun(
  core: Core,
  organizationId: string,
  identifiers: readonly ErasureIdentifier[],
  options: ErasingRunOptions = {},
): ErasingRun {
  const { requestId = newId('erasure'), deps: replace = (deps: ErasingDependencies) => deps } = options
  const request = { organizationId, requestId }
  let opened: OpenedErasureRequest = {
    ...request,
    state: 'scoping',
    submittedAt: new Date(),
    submitter: newReference('prn'),
    approver: newReference('prn'),
    policyVersion: 1,
    identifiers,
    recipients: [],
    jointFreeText: options.jointFreeText ?? 'redact',
    exempt: options.exempt ?? [],
    confirmed: options.confirmed ?? [],
    scope: null,
    attestations: options.attestations ?? [],
  }
  const requests = {
    open: () => Promise.resolve(opened),
    saveScope: (_request: ErasureReference, report: ScopeReport) => {
      opened = { ...opened, scope: report }
      return Promise.resolve()
    },
  }
  const { fence } = core.erasing.deps
  const withoutLeases = { ...fence, waitOutLeases: () => Promise.resolve() }
  const deps = replace({
    ...core.erasing.deps,
    requests,
    fence: options.leases === true ? fence : withoutLeases,
  })
  const erasing = createErasing(deps)
  const run: ErasingRun = {
    ...request,
    get opened() {
      return opened
    },
    erasing,
    completing: core.erasing.completing,
    deps,
    report() {
      if (opened.scope === null) throw new Error('nothing was scoped')
      return opened.scope
    },
    scope: async () => (await scope(deps, request, nothing)).result,
    async toVerified() {
      const { result } = await erasing.fence(request, nothing)
      if (result === 'held') return result
      await erasing.prepare(request, nothing)
      await erasing.erase(request, nothing)
      const outcome = await erasing.verify(request, nothing)
      return outcome.result === 'clean' ? 'clean' : `residue: ${outcome.targets.join(', ')}`
    },
  }
  return run
}
