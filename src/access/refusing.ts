/** An authenticator that knows nobody while the deployment serves nobody. */
import type { AnnalsError } from '../errors.js'
import type { Authenticator } from './contract.js'

/** @param refusal asked before each key is: what everybody is refused with, undefined where they are not */
export function refusingAuthenticator(
  authenticator: Authenticator,
  refusal: () => AnnalsError | undefined,
): Authenticator {
  return {
    async authenticate(authorization) {
      const refused = refusal()
      if (refused !== undefined) throw refused
      return authenticator.authenticate(authorization)
    },
  }
}
