/** Before a person is fenced, and before a key is destroyed: is every target there that has to do its part later? */
import type { ErasureTarget } from './contract.js'

/** @throws TargetError by the name of the first that cannot be reached */
export async function reachAll(targets: readonly ErasureTarget[], organizationId: string): Promise<void> {
  for (const target of targets) await target.reach?.(organizationId)
}
