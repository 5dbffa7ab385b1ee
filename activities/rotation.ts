/**
 * The activities of a rotation of the period key. Each may run any number of times; what failed leaves as one of
 * `rotationReasons` alone, since errors of files and databases name paths and values.
 */
import { Context } from '@temporalio/activity'
import { z } from 'zod'
import {
  keyHolders,
  type KeysLeft,
  type RemoveOutcome,
  type RotationReason,
} from '../src/key-rotation/contract.js'
import type { RewrapPlace, Rotator } from '../src/key-rotation/rotator.js'
import { KeyError } from '../src/keys/wrapping.js'
import type { Logger } from '../src/logging.js'
import { isMongoUnavailable } from '../src/mongo/unavailable.js'
import { createReporting } from './reporting.js'

export interface RotationActivities {
  /** @param run names the rotation */
  beginRotation(run: string): Promise<{ readonly period: number }>
  switchPeriod(period: number): Promise<void>
  rewrapKeys(): Promise<{ readonly rewrapped: number }>
  countKeysLeft(): Promise<KeysLeft>
  removePeriods(overlapMs: number): Promise<RemoveOutcome>
}

export interface RotationActivityDependencies {
  readonly rotator: Rotator
  readonly logger: Logger
  /** The worker is stopping: another one goes on from where this one is. */
  readonly stopping: AbortSignal
  /** Counts for the figures of this process. */
  readonly onRewrapped?: (keys: number) => void
}

/** What a heartbeat says; whatever else stands there is of another version, and the pass begins anew. */
const placeSchema: z.ZodType<RewrapPlace> = z.object({
  holder: z.enum(keyHolders),
  after: z.string(),
  rewrapped: z.int().nonnegative(),
})

export function createRotationActivities(deps: RotationActivityDependencies): RotationActivities {
  const { rotator, logger, stopping, onRewrapped = () => undefined } = deps

  const reporting = createReporting({
    stopping,
    codeOf: reasonOf,
    onFailure(code, error) {
      logger.warn('keys.rotation_interrupted', { code, error })
    },
  })

  return {
    beginRotation: (run) =>
      reporting(async () => {
        const period = await rotator.begin(run)
        logger.info('keys.rotation_begun', { version: period })
        return { period }
      }),
    switchPeriod: (period) =>
      reporting(async ({ signal }) => {
        await rotator.switch(period, () => signal.throwIfAborted())
        logger.info('keys.rotation_switched', { version: period })
      }),
    rewrapKeys: () =>
      reporting(async ({ say, signal }) => {
        const told = placeSchema.safeParse(Context.current().info.heartbeatDetails)
        let counted = 0
        const rewrapped = await rotator.rewrap(told.success ? told.data : undefined, (place) => {
          onRewrapped(place.rewrapped - counted)
          counted = place.rewrapped
          say(place)
          signal.throwIfAborted()
        })
        logger.info('keys.rotation_rewrapped', { count: rewrapped })
        return { rewrapped }
      }),
    countKeysLeft: () => reporting(() => rotator.left()),
    removePeriods: (overlapMs) =>
      reporting(async () => {
        const outcome = await rotator.remove(new Date(Date.now() - overlapMs))
        const { removed, left } = outcome
        if (left > 0) logger.warn('keys.rotation_left', { count: left })
        else logger.info('keys.rotation_removed', { count: removed.length })
        return outcome
      }),
  }
}

/** Why a step failed, in the words that operators see. */
export function reasonOf(error: unknown): RotationReason {
  if (error instanceof KeyError) return error.code === 'signing_key_missing' ? 'internal' : error.code
  return isMongoUnavailable(error) ? 'database_unavailable' : 'internal'
}
