/** How verification fails where it has no report to give. */

/** What is to be trusted is missing, or is not what it has to be: nothing was verified. */
export class TrustError extends Error {
  override readonly name = 'TrustError'
}

/** Something does not hold. The report says what. */
export class TamperingError extends Error {
  override readonly name = 'TamperingError'
}

/** It holds, and is not as widely seen as was asked for: not anchored yet, or not cosigned by enough witnesses. */
export class UnwitnessedError extends Error {
  override readonly name = 'UnwitnessedError'
}
