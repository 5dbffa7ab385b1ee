/** What becomes of a step whose worker stops: the database and Temporal are not needed for it. */
import { MockActivityEnvironment } from '@temporalio/testing'
import { expect, test } from 'vitest'
import { createOffboardingActivities } from '../../../activities/offboarding.js'
import { newId } from '../../../src/ids.js'
import { createLogger } from '../../../src/logging.js'
import { offboardingInterruption } from '../../../src/offboarding/contract.js'
import type { Offboarder } from '../../../src/offboarding/offboarder.js'
import { OffboardingResidueError } from '../../../src/offboarding/places.js'

const reference = { organizationId: 'org_stopping', offboardingId: newId('offboarding') }
const notAsked = () => Promise.reject(new Error('nobody asks for this'))

function taking(step: Offboarder['step'], stopping: AbortSignal) {
  const offboarder: Offboarder = {
    snapshot: notAsked,
    begin: notAsked,
    step,
    stopped: notAsked,
    look: notAsked,
  }
  const logger = createLogger('silent')
  const activities = createOffboardingActivities({ offboarder, logger, stopping })
  return new MockActivityEnvironment().run(() => activities.takeOffboardingStep(reference, 'remove_rows'))
}

test('a step that ends with its worker is told from one that fails, so that it is none of its attempts', async () => {
  const stopping = new AbortController()
  const stopped = taking((_reference, _step, beat) => {
    stopping.abort()
    beat()
    return Promise.resolve()
  }, stopping.signal)
  await expect(stopped).rejects.toMatchObject({ type: offboardingInterruption, nonRetryable: true })
  const failed = taking(
    () => Promise.reject(new OffboardingResidueError(['events'])),
    new AbortController().signal,
  )
  await expect(failed).rejects.toMatchObject({ type: 'residue_found', nonRetryable: false })
})
