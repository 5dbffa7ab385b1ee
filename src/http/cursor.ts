/**
 * Cursors: a position in a list, opaque to the client, signed, and bound to the filters it was made under.
 *
 * A cursor is unpadded base64url of `tag(16) ‖ JSON position`, with
 * tag = the first 16 bytes of HMAC-SHA-256(key, "annals/cursor/v1" 0x00 filters 0x00 position).
 * It is signed, not encrypted: a position must hold nothing that the reader may not see.
 */
import { createHmac, timingSafeEqual } from 'node:crypto'
import type { z } from 'zod'
import { AnnalsError } from '../errors.js'
import type { JsonValue } from '../events/contract.js'

const tagBytes = 16
const maxCursorCharacters = 2_048

/** What a list was asked for: everything but the page. Absent and `undefined` are the same. */
export type CursorFilters = Readonly<Record<string, JsonValue | undefined>>

export interface CursorCodec {
  seal(position: JsonValue, filters: CursorFilters): string
  /**
   * @param shape what a position of this list looks like
   * @throws AnnalsError `cursor_invalid` where it is not ours, was changed, or belongs to other filters
   */
  open<Position>(cursor: string, filters: CursorFilters, shape: z.ZodType<Position>): Position
}

/** @param key 32 secret bytes, the same in every process of the deployment */
export function createCursorCodec(key: Uint8Array): CursorCodec {
  const tagOf = (position: Uint8Array, filters: CursorFilters): Buffer =>
    createHmac('sha256', key)
      .update(`annals/cursor/v1\0${stable(filters)}\0`)
      .update(position)
      .digest()
      .subarray(0, tagBytes)

  return {
    seal(position, filters) {
      const bytes = Buffer.from(JSON.stringify(position))
      return Buffer.concat([tagOf(bytes, filters), bytes]).toString('base64url')
    },
    open(cursor, filters, shape) {
      if (cursor.length <= maxCursorCharacters) {
        const bytes = Buffer.from(cursor, 'base64url')
        const position = bytes.subarray(tagBytes)
        const signed =
          bytes.length > tagBytes && timingSafeEqual(bytes.subarray(0, tagBytes), tagOf(position, filters))
        // Encoding it again refuses what a lenient decoder skips over.
        if (signed && bytes.toString('base64url') === cursor) {
          const parsed = shape.safeParse(JSON.parse(position.toString('utf8')))
          if (parsed.success) return parsed.data
        }
      }
      throw new AnnalsError('cursor_invalid', 'The cursor does not belong to this list with these filters.')
    },
  }
}

/** JSON with the keys of every object in one order. */
function stable(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  )
}
