/** How a test reaches the real servers that `global-setup.ts` started, and names that no other test uses. */
import { randomBytes } from 'node:crypto'
import { inject } from 'vitest'

declare module 'vitest' {
  export interface ProvidedContext {
    mongoUri: string
    temporalAddress: string
  }
}

/** A replica set of one node, shared by all tests: use a database of your own. */
export const mongoUri = (): string => inject('mongoUri')

/** `host:port` of a Temporal development server, shared by all tests: use a namespace or task queues of your own. */
export const temporalAddress = (): string => inject('temporalAddress')

/** A fresh database name (at most 38 characters, as ANNALS_MONGODB_DATABASE takes it). */
export const testDatabaseName = (): string => `test-${randomBytes(8).toString('hex')}`
