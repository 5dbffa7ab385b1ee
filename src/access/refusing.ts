/** An authenticator that knows nobody while the deployment serves nobody. */
import type { AnnalsError } from '../errors.js'
import type { Authenticator } from './contract.js'

/** @param refusal asked before each key is: what everybody is refused with, undefined where they are not */
export function refusingAuthenticator(
  authenticator: Authenticator,
  refusal: () => AnnalsError | undefined,
): Authenticator {
  return {
    // On the way of every request: no promise more than there was.
    authenticate(authorization) {
      const refused = refusal()
      return refused === undefined ? authenticator.authenticate(authorization) : Promise.reject(refused)
    },
  }
}
