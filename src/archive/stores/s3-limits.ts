/** How long an S3 service may take, and how often it is asked. */
export interface S3Limits {
  readonly connectMs: number
  /** For an answer, from its request on, and for each chunk of bytes in either direction. */
  readonly stallMs: number
  /** Of one operation. */
  readonly attempts: number
  /** Before the second attempt; doubled for each later one, and spread. */
  readonly backoffMs: number
  /** Of a listing; S3 gives at most 1,000. */
  readonly pageObjects: number
}

export const s3Limits: S3Limits = {
  connectMs: 5_000,
  stallMs: 30_000,
  attempts: 3,
  backoffMs: 250,
  pageObjects: 1_000,
}
