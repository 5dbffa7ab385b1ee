/** Every event that leaves the client can be sent twice and is stored once. */
import type { NewEvent } from './types.js'

/** The event with an idempotency key: its own, none where it has an id, else a fresh random one. */
export function withKey(event: NewEvent): NewEvent {
  if (event.id !== undefined || event.idempotencyKey !== undefined) return event
  return { ...event, idempotencyKey: globalThis.crypto.randomUUID() }
}
