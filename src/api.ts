/** The API process: the core, Temporal's client, and the Express app over both. `annals serve` and the tests run it. */
import type { RequestListener } from 'node:http'
import type { Router } from 'express'
import { refusingAuthenticator } from './access/refusing.js'
import { accessKeyPaths, accessKeyRoutes } from './access/routes.js'
import { actionSchemaPaths, actionSchemaRoutes } from './action-schemas/routes.js'
import { archivePaths } from './archive/openapi.js'
import { createRestoreService } from './archive/restores/service.js'
import { archiveRoutes } from './archive/routes.js'
import { openCore, type Core } from './composition.js'
import type { Config } from './config.js'
import { webhookSecretPaths, webhookSecretRoutes } from './delivery/routes.js'
import { createWebhookSecretService } from './delivery/secret-service.js'
import { erasurePaths } from './erasure/openapi.js'
import { erasureRoutes } from './erasure/routes.js'
import { createErasureService } from './erasure/service.js'
import { idForKey } from './events/intake.js'
import { eventPaths } from './events/openapi.js'
import { isRefused } from './erasure/backup-guard.js'
import { eventReadRoutes } from './events/read-routes.js'
import { eventPostRoute, eventRoutes } from './events/routes.js'
import { eventStreamRoutes } from './events/stream-routes.js'
import { createApp } from './http/app.js'
import { requirePermission } from './http/authentication.js'
import { createHealth, type Health } from './http/health.js'
import type { Logger } from './logging.js'
import { createMetrics, type Metrics } from './metrics.js'
import { organizationPaths, organizationRoutes } from './organizations/routes.js'
import { holdRoutes } from './retention/hold-routes.js'
import { retentionPaths } from './retention/openapi.js'
import { registerRetentionMetrics } from './retention/retention-metrics.js'
import { offboardingPaths } from './offboarding/openapi.js'
import { offboardingRoutes } from './offboarding/routes.js'
import { createOffboardingService } from './offboarding/service.js'
import { redactionPaths } from './redaction/openapi.js'
import { redactionRoutes } from './redaction/routes.js'
import { createRedactionService } from './redaction/service.js'
import { createRunRetrier } from './retention/retry-run.js'
import { retentionRoutes } from './retention/routes.js'
import { createSweepStarter } from './retention/start-sweep.js'
import { scanPaths } from './scans/openapi.js'
import { scanRoutes } from './scans/routes.js'
import { createScanService } from './scans/service.js'
import { connectTemporal, temporalOptions, type TemporalConnection } from './temporal/client.js'
import { codecRoutes } from './temporal/codec-routes.js'
import { archiveKeysPaths, archiveKeysRoutes } from './archive/keys-routes.js'
import { createArchiveKeys } from './archive/segment-keys.js'
import { certificatePaths, certificateRoutes } from './certificates/routes.js'
import { erasureCertificateRoutes } from './erasure/certificate-routes.js'
import { anchorPaths, anchorRoutes } from './transparency-log/anchor/anchor-routes.js'
import { registerAlarmMetrics, registerPendingMetrics } from './transparency-log/log-metrics.js'
import { subjectStore } from './subjects/store.js'
import { logReadPaths } from './transparency-log/read-openapi.js'
import { registerErasureMetrics } from './erasure/erasure-metrics.js'
import { createHeldResumer } from './erasure/resume-held.js'
import { createEventAccounts } from './erasure/accounts.js'
import { readManifest } from './erasure/manifest-reading.js'
import { logReadRoutes } from './transparency-log/read-routes.js'
import { version } from './version.js'

export interface Api {
  /** What the HTTP server hands every request to. */
  readonly app: RequestListener
  readonly core: Core
  readonly health: Health
  /** To be called when the server takes no more requests: writes what was accepted, and closes every connection. */
  close(): Promise<void>
}

/**
 * Opens everything the API process needs.
 * @throws as `openCore`; CodecKeyFileError
 */
export async function openApi(
  config: Config,
  logger: Logger,
  metrics: Metrics = createMetrics(),
): Promise<Api> {
  const temporal = await connectTemporal(temporalOptions(config))
  const core = await openCore(config, logger).catch(async (error: unknown) => {
    await temporal.close()
    throw error
  })
  registerPendingMetrics(metrics.registry, core.sealing.pending)
  registerRetentionMetrics(metrics.registry, core.retention)
  registerErasureMetrics(metrics.registry, core.db)
  registerAlarmMetrics(metrics.registry, core.sealing.alarms)
  const { guard } = core.backups
  const authenticator = refusingAuthenticator(core.authenticator, () => guard.refusal())
  // Before the first request; what it is served by may change under it.
  await guard.look()
  const watching = guard.watch()
  const health = createHealth({
    mongodb: { required: true, check: () => core.db.command({ ping: 1 }) },
    // Events are taken while Temporal is away; only scans and duties wait for it.
    temporal: { required: false, check: () => temporal.connection.workflowService.getSystemInfo({}) },
    // Down: the database is older than the erasure ledger, or nobody could look yet.
    erasureLedger: {
      required: true,
      check: () => (isRefused(guard.state) ? Promise.reject(new Error(guard.state)) : Promise.resolve()),
    },
  })
  const app = createApp({
    logger,
    metrics,
    health,
    authenticator,
    directRoutes: [eventPostRoute({ ...core, organizations: core.eventOrganizations })],
    routers: {
      events: eventRoutes({ ...core, organizations: core.eventOrganizations }),
      eventReads: eventReadRoutes({ ...core, organizations: core.eventOrganizations }),
      eventStream: eventStreamRoutes({
        organizations: core.eventOrganizations,
        intake: core.intake,
        rateLimits: core.rateLimits,
        logger,
        onDraining: (callback) => health.onDraining(callback),
      }),
      logReads: logReadRoutes({
        ...core.logReading,
        organizations: core.eventOrganizations,
        events: core.events,
        finder: core.finder,
        manifest: (organizationId, sha256) =>
          readManifest({ ...core.erasing.deps, redactions: core.redactions.store }, organizationId, sha256),
        ...createEventAccounts({
          ...core.erasing.deps,
          log: core.logReading.log,
          finder: core.finder,
          redactions: core.redactions.store,
          subjects: subjectStore(core.db).subjects,
        }),
        onDraining: (callback) => health.onDraining(callback),
      }),
      organizations: organizationRoutes(core),
      actionSchemas: actionSchemaRoutes(core),
      keys: accessKeyRoutes({ keys: core.accessKeys, cursors: core.cursors }),
      scans: createScans(core, temporal, logger),
      retention: retentionRoutes({
        ...core,
        sweeps: createSweepStarter(temporal, logger),
        retries: createRunRetrier({ runs: core.retention.runs, temporal, logger }),
      }),
      holds: holdRoutes({
        ...core,
        holds: core.retention.holds,
        onReleased: createHeldResumer({
          store: core.erasures.store,
          progress: core.erasing.deps.progress,
          temporal,
          logger,
        }),
      }),
      archive: createArchive(core, temporal, logger),
      erasures: createErasureRoutes(core, config, temporal, logger),
      webhookSecrets: createWebhookSecretRoutes(core),
      redactions: createRedactionRoutes(core, temporal, logger),
      offboarding: createOffboardingRoutes(core, temporal, logger),
      anchor: anchorRoutes(core.sealing.anchoring),
      certificates: certificateRoutes(core.certificateKeys),
      archiveKeys: archiveKeysRoutes(createArchiveKeys(core.signingKeys, config.logOrigin)),
      codec: codecRoutes({
        codecKeys: temporal.codecKeys,
        namespace: temporal.namespace,
        requireOperator: requirePermission(authenticator, 'operate'),
        pathSecret: config.codecPathSecret,
        uiOrigins: ['127.0.0.1', 'localhost'].map(
          (host) => `http://${host}:${String(config.temporal.uiPort)}`,
        ),
      }),
    },
    paths: [
      eventPaths,
      organizationPaths,
      actionSchemaPaths,
      accessKeyPaths,
      scanPaths,
      retentionPaths(true),
      archivePaths,
      erasurePaths,
      webhookSecretPaths,
      redactionPaths,
      offboardingPaths,
      logReadPaths,
      anchorPaths,
      certificatePaths,
      archiveKeysPaths,
    ],
    version,
    publicUrl: config.http.publicUrl,
    metricsToken: config.metricsToken,
  })
  return {
    app,
    core,
    health,
    async close() {
      await watching.stop()
      await core.close()
      await temporal.close()
    },
  }
}

function createArchive(core: Core, temporal: TemporalConnection, logger: Logger): Router {
  const restores = createRestoreService({
    db: core.db,
    store: core.restores.store,
    temporal,
    logger,
    ...keyedBy(core),
  })
  const { segments, cursors, organizations } = core
  return archiveRoutes({ segments, restores, cursors, organizations })
}

/** Ids and fingerprints that an organization's own keys make. */
function keyedBy(core: Core) {
  const keysetOf = async (organizationId: string) =>
    (await core.eventOrganizations.require(organizationId)).keyset
  return {
    deriveId: async (organizationId: string, prefix: string, key: string) =>
      idForKey(await keysetOf(organizationId), prefix, key),
    fingerprint: async (organizationId: string, value: string) =>
      (await keysetOf(organizationId)).fingerprint(value),
  }
}

function createScans(core: Core, temporal: TemporalConnection, logger: Logger): Router {
  const scans = createScanService({
    ...core.scans,
    temporal,
    logger,
    ...keyedBy(core),
  })
  return scanRoutes({ scans, cursors: core.cursors, organizations: core.organizations })
}

function createWebhookSecretRoutes({ client, delivery, systemEvents, organizations }: Core): Router {
  const { secrets } = delivery
  return webhookSecretRoutes({
    webhookSecrets: createWebhookSecretService({ client, secrets, systemEvents }),
    organizations,
  })
}

function createErasureRoutes(
  core: Core,
  { webhooks }: Pick<Config, 'webhooks'>,
  temporal: TemporalConnection,
  logger: Logger,
): Router {
  const erasures = createErasureService({
    ...core.erasures,
    client: core.client,
    events: core.systemEvents,
    periods: core.keyring.periods,
    deliveries: core.delivery.deliveries,
    temporal,
    deriveId: idForKey,
    logger,
  })
  const requireOrganization = (id: string) => core.organizations.require(id)
  const router = erasureRoutes({ erasures, cursors: core.cursors, webhooks, requireOrganization })
  const { certificates } = core.erasing
  router.use(erasureCertificateRoutes({ requests: core.erasures.store, certificates, requireOrganization }))
  return router
}

function createRedactionRoutes(core: Core, temporal: TemporalConnection, logger: Logger): Router {
  const { client, finder, retention, systemEvents, cursors, organizations } = core
  const redactions = createRedactionService({
    client,
    store: core.redactions.store,
    finder,
    holds: retention.holds,
    systemEvents,
    keysetOf: async (id) => (await core.eventOrganizations.require(id)).keyset,
    deriveId: idForKey,
    temporal,
    logger,
  })
  return redactionRoutes({ redactions, cursors, organizations })
}

function createOffboardingRoutes(core: Core, temporal: TemporalConnection, logger: Logger): Router {
  const { client, retention, systemEvents, organizations } = core
  const offboardings = createOffboardingService({
    client,
    store: core.offboarding.store,
    holds: retention.holds,
    systemEvents,
    describe: (id) => organizations.describe(id),
    temporal,
    logger,
  })
  return offboardingRoutes({ offboardings, certificates: core.offboarding.certificates })
}
