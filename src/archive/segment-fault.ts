/** What does not hold in a segment, by the name of the object or leaf: what its verification throws. */
import type { FindingCode } from '../verification/contract.js'

export const segmentFaultCodes = [
  'manifest_missing',
  'manifest_invalid',
  'manifest_foreign',
  'chain_broken',
  'object_missing',
  'object_differs',
  'member_malformed',
  'counts_differ',
  'leaf_missing',
  'record_missing',
  'record_differs',
  'event_missing',
  'event_malformed',
  'event_misplaced',
  'envelope_differs',
  'fields_differ',
  'field_missing',
  'root_differs',
  'checkpoint_invalid',
  'checkpoint_foreign',
  'checkpoint_inconsistent',
] as const satisfies readonly FindingCode[]
export type SegmentFaultCode = (typeof segmentFaultCodes)[number]

/** The event of a leaf. */
export interface FaultyLeaf {
  readonly index: number
  readonly eventId?: string | undefined
}

/** Something in a segment does not hold. Paths and messages have no personal value. */
export class SegmentFault extends Error {
  override readonly name = 'SegmentFault'

  constructor(
    readonly code: SegmentFaultCode,
    /** Of the object in the archive. */
    readonly path: string,
    readonly detail: string,
    readonly leaf?: FaultyLeaf,
    /** Slots of the event's fields, where it is about some. */
    readonly slots?: readonly string[],
  ) {
    super(`${path}${leaf === undefined ? '' : `, leaf ${String(leaf.index)}`}: ${detail}`)
  }
}
