/** How the commands of the archive ask the API. */
import type { Command } from 'commander'
import { createTransport, type Send } from '../../client/transport.js'
import { AnnalsError } from '../../errors.js'
import type { CliContext } from '../context.js'
import { apiAddress } from '../running.js'

export interface Address {
  readonly url?: string
  readonly key?: string
}

const pageSize = 500

export const addressed = (command: Command): Command =>
  command
    .option('--url <url>', 'the API (default: ANNALS_URL, or the running "annals up")')
    .option('--key <key>', 'an access key (default: ANNALS_KEY)')

export function sendTo(context: CliContext, options: Address): Send {
  const { url, key } = apiAddress(context.loadConfig(), options)
  if (key === undefined) throw new AnnalsError('unauthenticated', 'No key: give --key, or set ANNALS_KEY.')
  return createTransport({ url, key })
}

export const read = async <Value>(answer: Promise<Response>): Promise<Value> =>
  (await (await answer).json()) as Value

/** Page after page of a list, until there are no more or so many. @param query `name=value&…` */
export async function listAll<Row>(send: Send, path: string, most: number, query = ''): Promise<Row[]> {
  const found: Row[] = []
  let cursor: string | null = null
  do {
    const next: string = cursor === null ? '' : `&cursor=${cursor}`
    const limit = `limit=${String(Math.min(pageSize, most))}`
    const page = await read<{ data: Row[]; nextCursor: string | null }>(
      send({ method: 'GET', path: `${path}?${limit}${query === '' ? '' : `&${query}`}${next}` }),
    )
    found.push(...page.data)
    cursor = page.nextCursor
  } while (cursor !== null && found.length < most)
  return found
}
