/** Every limit of an event, in one place. `docs/events.md` shows this table to clients; a test holds both in step. */
export const limits = {
  /** Bytes of one event's JSON: the body of a single post, one item of a batch. */
  maxEventBytes: 262_144,
  /** Bytes of one line of a stream: an event with its idempotency key, and some white space. */
  maxLineBytes: 264_192,
  /** Bytes of a batch's body, after decompression. */
  maxBatchBytes: 33_554_432,
  /** Bytes of a search's body. */
  maxSearchBytes: 65_536,
  /** Events in a batch. */
  maxBatchEvents: 1_000,
  /** Targets of an event. */
  maxTargets: 100,
  /** Members of one `metadata` object at its top. */
  maxMetadataKeys: 200,
  /** Values (members and elements, at any depth) in one event. */
  maxValues: 10_000,
  /** Nesting of an event: objects and arrays inside each other, the event itself counted. */
  maxDepth: 32,
  /** Characters (UTF-16 units) of a metadata key. */
  maxKeyLength: 256,
  /** Characters of a string inside metadata. */
  maxStringLength: 65_536,
  /** Characters of an id of a person or thing. */
  maxPartyIdLength: 1_024,
  /** Characters of a name. */
  maxNameLength: 1_024,
  /** Characters of an e-mail. */
  maxEmailLength: 320,
  /** Characters of each context member. */
  maxContextLength: 4_096,
  /** Characters of a description. */
  maxDescriptionLength: 16_384,
  /** Characters of an idempotency key. */
  maxIdempotencyKeyLength: 256,
  /** How far ahead of the server's clock `occurredAt` may lie, in milliseconds (24 h). */
  maxFutureMs: 86_400_000,
} as const
