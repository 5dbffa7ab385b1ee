/**
 * `annals setup`: everything a deployment needs before its first request, made once and left alone ever after.
 * Safe to repeat, and to run in several places at once.
 */
import { accessKeyCollection, ensureAccessKeyIndexes } from '../access/store.js'
import { ensureActionSchemaCollection } from '../action-schemas/store.js'
import { ensureRestoredIndexes } from '../archive/restores/rows.js'
import { ensureRestoreIndexes } from '../archive/restores/store.js'
import { ensureSegmentLookupIndex } from '../archive/segment-lookup.js'
import { ensureSegmentsIndexes } from '../archive/segments-store.js'
import { openCore } from '../composition.js'
import type { Config } from '../config.js'
import { ensureDeliveryCollections } from '../delivery/delivery.js'
import { ensureErasureProgress } from '../erasure/progress.js'
import { ensureErasureIndexes } from '../erasure/store.js'
import { ensureEventIndexes } from '../events/store.js'
import { ensureReleaseSchedule } from '../erasure/start-releases.js'
import { ensureRotationSchedule } from '../key-rotation/start-rotation.js'
import type { Logger } from '../logging.js'
import { ensureOrganizationCollection } from '../organizations/store.js'
import { ensureOffboardingIndexes } from '../offboarding/store.js'
import { ensureRedactionIndexes } from '../redaction/store.js'
import { ensureRetentionIndexes } from '../retention/retention.js'
import { ensureSweepSchedule } from '../retention/start-sweep.js'
import { ensureScanIndexes } from '../scans/store.js'
import { ensureSubjectIndexes, subjectStore } from '../subjects/store.js'
import { connectTemporal, temporalOptions } from '../temporal/client.js'
import { ensureCodecKeyFile } from '../temporal/codec-keys.js'
import { setUpTemporal } from '../temporal/setup.js'
import { anchorCollections, ensureAnchorCollections } from '../transparency-log/anchor/anchor-store.js'
import { ensureLogIndexes, logCollections } from '../transparency-log/store.js'

export interface SetupResult {
  /** The secret of the first administrator's key, shown once; undefined where there was a key already. */
  readonly firstKey: string | undefined
}

/**
 * Makes keys, indexes, the organization of the deployment's own events, namespace, search attributes, and the
 * first administrator's key where there is no key at all.
 * @throws AddressMissingError, MongoServerSelectionError, KeyError; Temporal's errors where it cannot be reached
 */
export async function setup(config: Config, logger: Logger): Promise<SetupResult> {
  await ensureCodecKeyFile(config.keys.codecKeyFile)
  await setUpNamespace(config)
  // The database comes last: a first key that was made is also shown.
  const result = await setUpDatabase(config, logger)
  logger.info('setup.done', { namespace: config.temporal.namespace })
  return result
}

/** The half of `setup` that needs no Temporal. */
export async function setUpDatabase(config: Config, logger: Logger): Promise<SetupResult> {
  const core = await openCore(config, logger, { createKeys: true })
  try {
    await ensureOrganizationCollection(core.db)
    await ensureEventIndexes(core.events)
    await ensureActionSchemaCollection(core.db)
    await ensureSubjectIndexes(subjectStore(core.db))
    await ensureAccessKeyIndexes(accessKeyCollection(core.db))
    await ensureScanIndexes(core.db)
    await ensureErasureIndexes(core.db)
    await ensureErasureProgress(core.db)
    await ensureDeliveryCollections(core.db)
    await ensureRedactionIndexes(core.db)
    await ensureOffboardingIndexes(core.db)
    await ensureRetentionIndexes(core.db)
    await ensureLogIndexes(logCollections(core.db))
    await ensureSegmentLookupIndex(core.db)
    await ensureSegmentsIndexes(core.db)
    await ensureRestoreIndexes(core.db)
    await ensureRestoredIndexes(core.db)
    await ensureAnchorCollections(anchorCollections(core.db))
    await core.signingKeys.ensure()
    await core.organizations.ensureSystemOrganization()
    if (config.adminKey !== undefined) await core.accessKeys.ensureAdminKey(config.adminKey)
    const first = await core.accessKeys.ensureFirstKey()
    return { firstKey: first?.secret }
  } finally {
    await core.close()
  }
}

async function setUpNamespace(config: Config): Promise<void> {
  const temporal = await connectTemporal(temporalOptions(config))
  try {
    await setUpTemporal({ connection: temporal.connection, namespace: temporal.namespace })
    await ensureSweepSchedule(temporal)
    await ensureReleaseSchedule(temporal)
    await ensureRotationSchedule(temporal, config.keys.rotation)
  } finally {
    await temporal.close()
  }
}
