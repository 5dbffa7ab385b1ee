/** Lists as async iterators: the next page is asked for when the caller comes to it, not before. */
import { AnnalsClientError } from './errors.js'

interface Page {
  readonly data: readonly unknown[]
  readonly nextCursor: string | null
}

/** @param load asks for the page at a cursor; undefined = the first */
export async function* pages(load: (cursor: string | undefined) => Promise<unknown>): AsyncGenerator {
  let cursor: string | undefined
  do {
    const page = asPage(await load(cursor))
    yield* page.data
    cursor = page.nextCursor ?? undefined
  } while (cursor !== undefined)
}

function asPage(body: unknown): Page {
  if (typeof body === 'object' && body !== null && 'data' in body && 'nextCursor' in body) {
    const { data, nextCursor } = body
    if (Array.isArray(data) && (typeof nextCursor === 'string' || nextCursor === null)) {
      return { data: data as unknown[], nextCursor }
    }
  }
  throw new AnnalsClientError('unexpected_answer', 'The answer is no page of a list.')
}
