/**
 * Puts messages and stack traces of failures into the encrypted payload as well. Loaded by path: by the SDK in
 * clients and workers (data-converter.ts) and into the workflow bundle (workers/bundle.ts).
 */
import { DefaultFailureConverter } from '@temporalio/common'

export const failureConverter = new DefaultFailureConverter({ encodeCommonAttributes: true })
