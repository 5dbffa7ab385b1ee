/**
 * Targets that are gone: what a request was scoped with has to be looked at before it can complete, and where that cannot
 * be done any more an officer says, with an outcome and a reason, what became of it. Pure.
 *
 * Only what a request has stopped for can be retired, so that nobody leaves out a target that is there. A retirement counts
 * while the target does not answer: one that is back is erased and verified like any other.
 */
import type {
  Attestation,
  ErasureState,
  OpenedErasureRequest,
  OperatorReason,
  Retirement,
  ScopeReport,
} from './contract.js'

/** For these a target may be retired: it is not there, or does not answer. */
const retirable: ReadonlySet<OperatorReason> = new Set<OperatorReason>([
  'target_removed',
  'target_unavailable',
  'archive_unavailable',
])

/** Where a request stands, as far as it counts here. */
export interface Stopped {
  readonly state: ErasureState
  readonly operator: { readonly reason: OperatorReason; readonly targets: readonly string[] } | null
}

export const mayRetire = ({ state, operator }: Stopped, target: string): boolean =>
  state === 'needs_operator' &&
  operator !== null &&
  retirable.has(operator.reason) &&
  operator.targets.includes(target)

/** The newest retirement of each target. */
export function retirementsOf(attestations: readonly Attestation[]): ReadonlyMap<string, Retirement> {
  const found = new Map<string, Retirement>()
  for (const { target, principal, at, outcome, reason } of attestations)
    if (outcome !== undefined) found.set(target, { target, principal, at, outcome, reason: reason ?? '' })
  return found
}

/** Log systems elsewhere that the request was scoped with and that nobody has attested yet. */
export function notAttested({ scope, attestations }: Pick<OpenedErasureRequest, 'scope' | 'attestations'>) {
  const attested = new Set(attestations.map(({ target }) => target))
  const elsewhere = (scope?.targets ?? []).filter(({ status }) => status === 'elsewhere')
  return elsewhere.map(({ target }) => target).filter((target) => !attested.has(target))
}

/** Targets of the registry that the request was scoped with. */
export const pinnedTargets = (scope: ScopeReport | null): readonly string[] =>
  (scope?.targets ?? []).flatMap(({ target, status }) => (status === 'elsewhere' ? [] : [target]))
