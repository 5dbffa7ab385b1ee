/** `annals doctor --apply-erasures`: for the operator at the machine, after a database was restored from a backup. */
import { openCore } from '../composition.js'
import type { Config } from '../config.js'
import { reapplyErasures, type Reapplied } from '../erasure/reapplying.js'
import { LedgerError } from '../erasure/ledger.js'
import { AnnalsError } from '../errors.js'
import type { Logger } from '../logging.js'
import { RolledBackError } from '../transparency-log/checkpoint-copies/guard.js'

/**
 * Applies every erasure and redaction that the ledger has and the database has not. May be run again at any moment, and
 * beside processes that wait for it.
 * @throws AnnalsError `wrong_state` where a log must be restarted first, or the ledger has not what it names; as `openCore`
 */
export async function applyErasures(config: Config, logger: Logger): Promise<Reapplied> {
  const core = await openCore(config, logger)
  try {
    const applied = await reapplyErasures(core.backups.reapplying, () => undefined)
    logger.info('erasures.reapplied', { count: applied.entries })
    return applied
  } catch (error) {
    if (error instanceof RolledBackError)
      throw new AnnalsError(
        'wrong_state',
        `A log is behind what was published: first annals log restart (${error.log}).`,
        { cause: error },
      )
    if (error instanceof LedgerError)
      throw new AnnalsError('wrong_state', `The ledger cannot be applied: ${error.message}.`, {
        cause: error,
      })
    throw error
  } finally {
    await core.close()
  }
}
