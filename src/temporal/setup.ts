/** What `annals setup` does for Temporal: the namespace and its search attributes, idempotently. */
import { isGrpcServiceError, type Connection } from '@temporalio/client'
import { SearchAttributeType } from '@temporalio/common'
import { encodeSearchAttributeIndexedValueType } from '@temporalio/common/lib/search-attributes.js'
import { msToTs } from '@temporalio/common/lib/time.js'
import { searchAttributes } from './search-attributes.js'

export interface TemporalSetupOptions {
  readonly connection: Connection
  readonly namespace: string
  /** How long closed workflows stay readable; the dev server's own default is one day. */
  readonly retentionDays?: number
  /** How long to wait until the server uses what was registered (its caches lag by up to about ten seconds). */
  readonly timeoutMs?: number
}

export interface TemporalSetupResult {
  readonly namespaceCreated: boolean
  /** Names of the search attributes this call added. */
  readonly attributesAdded: readonly string[]
}

const defaultRetentionDays = 7
const defaultTimeoutMs = 60_000
const pollMs = 250
const millisecondsPerDay = 86_400_000
/** gRPC status codes (https://grpc.io/docs/guides/status-codes/). */
const alreadyExists = 6

/**
 * Registers the namespace (or sets its retention) and the search attributes, and returns once workflows can be
 * started with them. Safe to repeat, and to run twice at once.
 * @throws Error where the server does not use them within `timeoutMs`, or refuses
 */
export async function setUpTemporal(options: TemporalSetupOptions): Promise<TemporalSetupResult> {
  const deadline = Date.now() + (options.timeoutMs ?? defaultTimeoutMs)
  const namespaceCreated = await ensureNamespace(options)
  // A namespace registered this moment is unknown to most of the server for some seconds.
  const attributesAdded = await untilServed(deadline, () => ensureSearchAttributes(options))
  await untilServed(deadline, () => tryAttributes(options))
  return { namespaceCreated, attributesAdded }
}

async function ensureNamespace(options: TemporalSetupOptions): Promise<boolean> {
  const { connection, namespace } = options
  const retention = msToTs((options.retentionDays ?? defaultRetentionDays) * millisecondsPerDay)
  try {
    await connection.workflowService.registerNamespace({
      namespace,
      description: 'Annals: the duties that last',
      workflowExecutionRetentionPeriod: retention,
    })
    return true
  } catch (error) {
    if (!existsAlready(error)) throw error
  }
  await connection.workflowService.updateNamespace({
    namespace,
    config: { workflowExecutionRetentionTtl: retention },
  })
  return false
}

async function ensureSearchAttributes(options: TemporalSetupOptions): Promise<string[]> {
  const { connection, namespace } = options
  const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace })
  const missing = searchAttributes.filter(({ name }) => !(name in customAttributes))
  if (missing.length === 0) return []
  try {
    await connection.operatorService.addSearchAttributes({
      namespace,
      searchAttributes: Object.fromEntries(missing.map(({ name, type }) => [name, indexedType(type)])),
    })
  } catch (error) {
    // Another `annals setup` was quicker.
    if (!existsAlready(error)) throw error
    return []
  }
  return missing.map(({ name }) => name)
}

function indexedType(type: SearchAttributeType): number {
  const indexed = encodeSearchAttributeIndexedValueType(type)
  if (indexed === undefined) throw new Error(`Temporal has no search attribute type ${type}`)
  return indexed
}

function existsAlready(error: unknown): boolean {
  if (!isGrpcServiceError(error)) return false
  const code: number = error.code
  return code === alreadyExists
}

/** Fails until the server takes a query over every attribute. */
async function tryAttributes({ connection, namespace }: TemporalSetupOptions): Promise<void> {
  const query = searchAttributes
    .map(({ name, type }) =>
      type === SearchAttributeType.DATETIME ? `${name} > '2000-01-01T00:00:00Z'` : `${name} = 'none'`,
    )
    .join(' AND ')
  await connection.workflowService.listWorkflowExecutions({ namespace, query, pageSize: 1 })
}

async function untilServed<T>(deadline: number, attempt: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await attempt()
    } catch (error) {
      if (!isGrpcServiceError(error) || Date.now() + pollMs > deadline) throw error
    }
    await new Promise((resolve) => setTimeout(resolve, pollMs))
  }
}
