/**
 * From a file's bytes to the lines of a stream.
 *
 * Each event is sent as it stands in the file: what is added (the idempotency key, another organization) is spliced
 * in before its last brace, where the last member of a name counts, so that no number is read and written again.
 */
import type { StreamItem } from '../../client/index.js'
import type { ErrorCode } from '../../errors.js'
import { limits } from '../../events/limits.js'
import { LineSplitter, parseLine, type LineFault, type LineStart, type RawLine } from '../../events/ndjson.js'

/** Where an event stands in the file. */
export interface Place {
  readonly line: number
  /** Bytes of the file up to and with this line. */
  readonly offset: number
}

export interface LineOptions {
  readonly start: LineStart
  /** The key of a line that has neither an id nor a key of its own. */
  readonly keyOf: (line: number) => string
  readonly organization: string | undefined
  /** A line that is not worth sending. */
  readonly onFault: (place: Place, code: ErrorCode) => void
}

const faultCodes: Readonly<Record<LineFault, ErrorCode>> = {
  too_large: 'too_large',
  not_utf8: 'malformed',
  not_json: 'malformed',
}

/** Yields the events of each chunk together. */
export async function* importLines(
  chunks: AsyncIterable<Buffer>,
  options: LineOptions,
): AsyncGenerator<StreamItem<Place>[]> {
  const splitter = new LineSplitter(limits.maxEventBytes, options.start)
  for await (const chunk of chunks) {
    const items = [...splitter.push(chunk)].flatMap((line) => itemOf(line, options))
    if (items.length > 0) yield items
  }
  const last = splitter.end()
  if (last !== undefined) yield itemOf(last, options)
}

function itemOf(line: RawLine, { keyOf, organization, onFault }: LineOptions): StreamItem<Place>[] {
  const parsed = parseLine(line)
  const tag = { line: line.number, offset: line.end }
  if (!parsed.ok) {
    onFault(tag, faultCodes[parsed.fault])
    return []
  }
  const { value } = parsed
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return [{ text: parsed.text, tag }]
  const added: Record<string, string> = {}
  if (!Object.hasOwn(value, 'id') && !Object.hasOwn(value, 'idempotencyKey')) {
    added['idempotencyKey'] = keyOf(line.number)
  }
  if (organization !== undefined) added['organizationId'] = organization
  return [{ text: spliced(parsed.text, added, Object.keys(value).length === 0), tag }]
}

function spliced(text: string, added: Readonly<Record<string, string>>, empty: boolean): string {
  const members = JSON.stringify(added).slice(1)
  if (members === '}') return text
  return `${text.slice(0, text.lastIndexOf('}'))}${empty ? '' : ','}${members}`
}
