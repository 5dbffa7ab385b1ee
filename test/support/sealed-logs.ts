/** A world with sealed logs to verify: each case makes one of its own, and does to it what it likes. */
import { afterAll, beforeAll } from 'vitest'
import type { LogReport } from '../../src/verification/contract.js'
import { accept, drainUntilSealed } from './sealing.js'
import { openWorld, type World } from './world.js'

export interface SealedLog {
  readonly org: string
  /** Ids of its events; leaf 0 is the organization's own creation. */
  readonly ids: readonly string[]
  readonly keys: readonly string[]
  readonly checkpoint: string
}

/** Opened before the tests of the file that calls it. */
export function useSealedLogs() {
  let opened: World
  let made = 0
  beforeAll(async () => {
    opened = await openWorld({ unsearchable: 'rows are edited by hand' })
  })
  afterAll(() => opened.close())
  const world = () => opened

  const keysOf = async (org: string) =>
    (await opened.request('GET', `/v1/organizations/${org}/log/keys`)).text.trim().split('\n')
  const checkpointOf = async (org: string) =>
    (await opened.request('GET', `/v1/organizations/${org}/log/checkpoint`)).text

  /** A sealed log of a fresh organization: its creation and so many events. */
  async function sealedLog(count = 6): Promise<SealedLog> {
    const org = `org_verify_${String((made += 1))}`
    const accepted = await accept(opened.api.core, org, count)
    await drainUntilSealed(opened.api.core, org)
    return {
      org,
      ids: accepted.map(({ id }) => id),
      keys: await keysOf(org),
      checkpoint: await checkpointOf(org),
    }
  }

  /** Where an event is in its log. */
  async function leafOf({ org }: SealedLog, id: string | undefined): Promise<number> {
    const located = await opened.api.core.sealing.store.locate(org, String(id))
    if (located === undefined) throw new Error('the event is sealed')
    return located.index
  }

  return { world, keysOf, checkpointOf, sealedLog, leafOf }
}

/** Under which id an event of a log is in the database. */
export const documentOf = (log: SealedLog, at: number): string => `${log.org}/${String(log.ids[at])}`

/** What was found where, a line each. */
export const places = ({ findings }: LogReport): string[] =>
  findings.map(
    ({ code, at, leaf }) => `${code} at ${at}${leaf?.eventId === undefined ? '' : ` ${leaf.eventId}`}`,
  )
