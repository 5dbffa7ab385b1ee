/** Tells MongoDB being away, or changing its primary, from every other failure. */
import {
  MongoClientClosedError,
  MongoError,
  MongoErrorLabel,
  MongoNetworkError,
  MongoNotConnectedError,
  MongoOperationTimeoutError,
  MongoServerError,
  MongoServerSelectionError,
  MongoTopologyClosedError,
} from 'mongodb'

/** Server codes that say "not this server, not now"; https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml */
const passingCodes = new Set<unknown>([
  6, // HostUnreachable
  7, // HostNotFound
  50, // MaxTimeMSExpired
  64, // WriteConcernTimeout
  89, // NetworkTimeout
  91, // ShutdownInProgress
  189, // PrimarySteppedDown
  10107, // NotWritablePrimary
  11600, // InterruptedAtShutdown
  11602, // InterruptedDueToReplStateChange
  13435, // NotPrimaryNoSecondaryOk
  13436, // NotPrimaryOrSecondary
])

/** No connection came free in time. The driver does not export this class. */
const waitQueueTimeout = 'MongoWaitQueueTimeoutError'

/** True where trying again in a moment may do: the request itself was in order. */
export function isMongoUnavailable(error: unknown): boolean {
  if (!(error instanceof MongoError)) return false
  return (
    error instanceof MongoServerSelectionError ||
    error instanceof MongoNetworkError ||
    error instanceof MongoNotConnectedError ||
    error instanceof MongoTopologyClosedError ||
    error instanceof MongoClientClosedError ||
    error instanceof MongoOperationTimeoutError ||
    error.name === waitQueueTimeout ||
    (error instanceof MongoServerError && passingCodes.has(error.code)) ||
    error.hasErrorLabel(MongoErrorLabel.TransientTransactionError) ||
    error.hasErrorLabel(MongoErrorLabel.RetryableWriteError) ||
    error.hasErrorLabel(MongoErrorLabel.UnknownTransactionCommitResult)
  )
}

/** True for an insert or update that a unique index refused. Its message quotes values: never log it. */
export const isDuplicateKey = (error: unknown): boolean =>
  error instanceof MongoServerError && error.code === 11000

/**
 * True where another transaction holds a document for longer than one waits. One of a process that died holds it until
 * the server's `transactionLifetimeLimitSeconds` (60 by default): sessions outlive connections.
 */
export const isWriteConflict = (error: unknown): boolean =>
  error instanceof MongoServerError && error.code === 112
