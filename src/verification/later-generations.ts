/**
 * What later generations of a log say of an older one (after `annals log restart`): the events that account for values,
 * events or records that are gone. Each is proved in its own generation before it counts: it makes its record, the record
 * its leaf, and the leaf stands under a checkpoint that a key of the deployment has signed.
 */
import { AnnalsClientError } from '../client/index.js'
import type { OpenedCheckpoint } from '../transparency-log/checkpoint.js'
import { decodeEntryBundle } from '../transparency-log/entry-bundle.js'
import { LogError } from '../transparency-log/errors.js'
import { nodeNoteCrypto } from '../transparency-log/node-crypto.js'
import { checkRecord, proveRecord } from '../transparency-log/proof.js'
import { TileHashReader } from '../transparency-log/tile-reader.js'
import { tileAt, tileWidth } from '../transparency-log/tile.js'
import { isErasureRecord } from './erasures.js'
import { isRetentionRecord } from './expiry-rules.js'
import { textOf } from './leaf-check.js'
import { tilesOf, type LogSource } from './log-source.js'
import { nodeRules } from './node-rules.js'
import { verifierUnder } from './proved-event.js'
import type { LogServer } from './server-source.js'
import { nameOfOrigin, openOrFind, originOfName, originOfNote, trustedLog } from './trust.js'

/** Restarts are rare; what is further away is not looked at. */
const maxGenerations = 1_000

/**
 * In the order of the log; nothing where there is no later generation, or none that opens.
 * @param given verifier keys of the older generation that were had from elsewhere: one key signs all logs of a deployment
 *   at a time, so they speak for a later one until they are rotated. undefined = those that the server names are taken
 * @throws AnnalsClientError where the server cannot be read
 */
export async function* laterEvents(
  server: LogServer,
  origin: string,
  given: readonly string[] | undefined,
): AsyncGenerator {
  const own = nameOfOrigin(origin)
  const newest = nameOfOrigin(originOfNote(await server.checkpoint()) ?? '')
  if (own === undefined || newest?.organization !== own.organization) return
  const last = Math.min(newest.generation, own.generation + maxGenerations)
  for (let generation = own.generation + 1; generation <= last; generation += 1) {
    const opened = await openedCheckpoint(server, generation, originOfName({ ...own, generation }), given)
    if (opened !== undefined) yield* provedEvents(server.source(generation, false), opened)
  }
}

/** undefined where there is no such generation, or its checkpoint is not one that is trusted. */
async function openedCheckpoint(
  server: LogServer,
  generation: number,
  origin: string,
  given: readonly string[] | undefined,
): Promise<OpenedCheckpoint | undefined> {
  try {
    const note = await server.checkpoint(generation)
    const log =
      given === undefined
        ? trustedLog(await server.keys(generation), nodeNoteCrypto)
        : { origin, logKeys: given.flatMap((key) => verifierUnder(origin, key) ?? []) }
    const opened = openOrFind(note, log, 'checkpoint')
    return 'code' in opened || opened.origin !== origin ? undefined : opened
  } catch (error) {
    // A number that was never given out, or keys that are none.
    const isNone = error instanceof AnnalsClientError && error.code === 'not_found'
    if (isNone || error instanceof LogError) return undefined
    throw error
  }
}

async function* provedEvents(source: LogSource, { size, root }: OpenedCheckpoint): AsyncGenerator {
  const { hasher, checkEvent } = nodeRules
  const reader = new TileHashReader(size, root, tilesOf(source), hasher)
  for (let tile = 0; tile * tileWidth < size; tile += 1) {
    const address = tileAt(0, tile, size)
    const bundle = address && (await source.bundle(address))
    const wanted = bundle === undefined ? [] : accountingRecords(bundle, address?.width ?? 0)
    if (address === undefined || wanted.length === 0) continue
    const lines = (await (source.events ?? source.evidence)?.(address)) ?? []
    for (const { position, record } of wanted) {
      const event = lines[position]?.event
      if (event === undefined || checkEvent(event, record).problem !== undefined) continue
      const index = tile * tileWidth + position
      try {
        const leaf = hasher.leaf(new TextEncoder().encode(record))
        checkRecord(await proveRecord(size, index, reader, hasher), { size, root, index, leaf }, hasher)
      } catch (error) {
        if (error instanceof LogError) continue
        throw error
      }
      yield event
    }
  }
}

/** The records of events that may say why something is gone, with their positions. */
function accountingRecords(bundle: Uint8Array, width: number) {
  try {
    return decodeEntryBundle(bundle, width).flatMap((bytes, position) => {
      const record = textOf(bytes)
      const accounts = record !== undefined && (isErasureRecord(record) || isRetentionRecord(record))
      return accounts ? [{ position, record }] : []
    })
  } catch (error) {
    if (error instanceof LogError) return []
    throw error
  }
}
