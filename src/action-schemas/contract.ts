/** What an action schema is, and its limits. Pure; docs/action-schemas.md says the same to clients. */
import type { JsonObject } from '../events/contract.js'

export const actionSchemaLimits = {
  /** Bytes of a request's body. */
  maxBytes: 65_536,
  /** Characters of a schema's canonical JSON. */
  maxLength: 32_768,
  /** Subschemas, a referenced one counted wherever it is referenced. */
  maxSubschemas: 1_000,
  /** Subschemas inside each other. */
  maxDepth: 24,
  /** Regular expressions, counted as subschemas are. */
  maxPatterns: 16,
  /** Characters of a text that a pattern is tested against; a longer text does not match. */
  maxMatchedLength: 8_192,
  /** `maxItems` that must stand beside `uniqueItems`: comparing all with all grows with the square. */
  maxUniqueItems: 100,
  /** Versions of one action. */
  maxVersions: 50,
  /** Schemas of a deployment. */
  maxSchemas: 2_000,
} as const

/** The keyword that marks a top-level metadata property as personal. */
export const personalKeyword = 'x-annals-personal'

/** One version of an action's schema. It never changes: another schema is another version. */
export interface ActionSchema {
  readonly action: string
  readonly version: number
  readonly schema: JsonObject
  /** Top-level metadata keys that are personal, sorted. */
  readonly personal: readonly string[]
  readonly createdAt: Date
  /** `prn_…` of the owner who put it. */
  readonly createdBy: string
}
