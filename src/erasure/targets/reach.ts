/** Which targets a request goes through, and whether each that has to do its part is there. */
import type { OpenedErasureRequest } from '../contract.js'
import { pinnedTargets, retirementsOf } from '../retiring.js'
import { TargetError, type ErasureTarget } from './contract.js'

type Request = Pick<OpenedErasureRequest, 'organizationId' | 'scope' | 'attestations'>

export interface RequestTargets {
  /** Those that do their part, retired ones that answer again included. */
  readonly there: readonly ErasureTarget[]
  /** Names of those that were retired and do not answer: nothing is asked of them, and they count as verified nowhere. */
  readonly retired: ReadonlySet<string>
}

/** Asks the retired ones alone. */
export async function targetsOf(
  targets: readonly ErasureTarget[],
  request: Request,
): Promise<RequestTargets> {
  const retirements = retirementsOf(request.attestations)
  const names = new Set(targets.map(({ name }) => name))
  const gone = pinnedTargets(request.scope).filter((name) => !names.has(name))
  const retired = new Set(gone.filter((name) => retirements.has(name)))
  const there: ErasureTarget[] = []
  for (const target of targets) {
    if (retirements.has(target.name) && !(await answers(target, request.organizationId)))
      retired.add(target.name)
    else there.push(target)
  }
  return { there, retired }
}

async function answers(target: ErasureTarget, organizationId: string): Promise<boolean> {
  try {
    await target.reach?.(organizationId)
    return true
  } catch (error) {
    if (error instanceof TargetError) return false
    throw error
  }
}

/**
 * Is every target of the request there? Asked before anybody is fenced, and before a key is destroyed.
 * @throws TargetError by the name of the first that was removed, or cannot be reached
 */
export async function reachAll(targets: readonly ErasureTarget[], request: Request): Promise<void> {
  const { there, retired } = await targetsOf(targets, request)
  requirePinned(targets, retired, request)
  for (const target of there) await target.reach?.(request.organizationId)
}

/** @throws TargetError where the request was scoped with a target that is not there any more, and nobody retired it */
export function requirePinned(
  targets: readonly ErasureTarget[],
  retired: ReadonlySet<string>,
  { scope }: Pick<Request, 'scope'>,
): void {
  const names = new Set(targets.map(({ name }) => name))
  const removed = pinnedTargets(scope).find((name) => !names.has(name) && !retired.has(name))
  if (removed !== undefined) throw new TargetError(removed, 'target_removed')
}
