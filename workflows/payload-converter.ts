/**
 * How workflows read payloads. A signal whose payload is no JSON, or of an unknown encoding, makes the SDK's
 * converter throw while it activates the workflow, and every retry throws again: one bad message from anybody's
 * client would wedge the workflow for ever. Here it reads as a value that no check accepts.
 *
 * Built into the bundle (workers/bundle.ts); clients and activities use the SDK's converter, which throws.
 */
import {
  DefaultPayloadConverter,
  type ConverterHint,
  type Payload,
  type SerializationContext,
} from '@temporalio/common'

class LenientPayloadConverter extends DefaultPayloadConverter {
  override fromPayload<T>(payload: Payload, context?: SerializationContext, hint?: ConverterHint<T>): T {
    try {
      return super.fromPayload(payload, context, hint)
    } catch {
      return super.fromPayload(unreadable, context, hint)
    }
  }
}

const unreadable: Payload = {
  metadata: { encoding: asciiBytes('json/plain') },
  data: asciiBytes('"unreadable payload"'),
}

/** No TextEncoder and no Buffer in the sandbox. */
function asciiBytes(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0))
}

export const payloadConverter = new LenientPayloadConverter()
