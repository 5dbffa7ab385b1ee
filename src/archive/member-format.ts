/** The lines of members, for readers: `{i: leaf, e: event}` and `{i: leaf, r: record}`. */
import type { StoredEvent } from '../events/store.js'
import type { MemberFormat } from './member-reader.js'

export const memberFormat: MemberFormat = {
  content: (_organizationId, lines) =>
    new Map(
      linesOf(lines).map((line) => {
        const { i, e } = JSON.parse(line, revive) as { i: number; e?: StoredEvent }
        return [i, e]
      }),
    ),
  records: (lines) =>
    new Map(
      linesOf(lines).map((line) => {
        const { i, r } = JSON.parse(line) as { i: number; r: string }
        return [i, r]
      }),
    ),
}

const linesOf = (bytes: Buffer) =>
  bytes
    .toString('utf8')
    .split('\n')
    .filter((line) => line !== '')

function revive(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if ('$b' in value) return Buffer.from(String(value.$b), 'base64')
  if ('$d' in value) return new Date(Number(value.$d))
  return '$t' in value ? BigInt(String(value.$t)) : value
}
