/** Why a step of retention failed, in the words that readers and operators see. */
import { SegmentFault } from '../src/archive/segment-fault.js'
import { SpoolFullError } from '../src/archive/segment-spool.js'
import { ArchiveStoreError } from '../src/archive/stores/contract.js'
import { isMongoUnavailable } from '../src/mongo/unavailable.js'
import type { RunReason } from '../src/retention/contract.js'
import { LogError } from '../src/transparency-log/errors.js'

export function reasonOf(error: unknown): RunReason {
  if (error instanceof ArchiveStoreError) return reasonOfStore(error)
  if (error instanceof SegmentFault)
    return error.code === 'root_differs' ? 'verification_failed' : 'archive_altered'
  if (error instanceof SpoolFullError) return 'archive_full'
  if (error instanceof LogError) return 'log_unreadable'
  return isMongoUnavailable(error) ? 'database_unavailable' : 'internal'
}

function reasonOfStore({ code }: ArchiveStoreError): RunReason {
  switch (code) {
    case 'exists':
      return 'archive_conflict'
    case 'mismatch':
      return 'archive_altered'
    case 'full':
      return 'archive_full'
    case 'unavailable':
      return 'archive_unavailable'
    case 'locked':
    case 'refused':
    case 'read_only':
      return 'archive_refused'
  }
}
