/** What lists have in common: `limit`, `cursor`, and the page `{data, nextCursor}`. */
import { z } from 'zod'
import { invalidField } from '../errors.js'

export const defaultLimit = 50
export const maxLimit = 500

/** The query members of every list, to spread into a `z.strictObject` beside its filters. */
export const pageQuery = {
  limit: z
    .string()
    .regex(/^\d{1,4}$/)
    .transform(Number)
    .pipe(z.number().min(1).max(maxLimit))
    .default(defaultLimit)
    .meta({
      description: `Entries a page, 1 to ${maxLimit}`,
      override: { type: 'integer', minimum: 1, maximum: maxLimit, default: defaultLimit },
    }),
  cursor: z.string().min(1).optional().meta({ description: '`nextCursor` of the page before' }),
}

export interface Page<Item> {
  readonly data: readonly Item[]
  /** null = this is the last page. */
  readonly nextCursor: string | null
}

/**
 * Makes a page of `limit` entries from up to one more than that.
 * @param cursorOf the cursor that goes on after an entry
 */
export function pageOf<Item>(
  found: readonly Item[],
  limit: number,
  cursorOf: (last: Item) => string,
): Page<Item> {
  const data = found.slice(0, limit)
  const last = data.at(-1)
  return { data, nextCursor: found.length > limit && last !== undefined ? cursorOf(last) : null }
}

export const pageSchema = <Item extends z.ZodType>(item: Item) =>
  z.object({ data: z.array(item), nextCursor: z.string().nullable() })

const idempotencyKeyPattern = /^[\x20-\x7e]{1,256}$/

/** The `Idempotency-Key` header. @throws AnnalsError `invalid` where it is no 1 to 256 printable ASCII characters */
export function idempotencyKeyOf(
  headers: Readonly<Record<string, string | string[] | undefined>>,
): string | undefined {
  const key = headers['idempotency-key']
  if (key === undefined) return undefined
  if (typeof key === 'string' && idempotencyKeyPattern.test(key)) return key
  throw invalidField('Idempotency-Key', 'malformed_value', 'must be 1 to 256 printable ASCII characters')
}
