/** Worlds whose archive is a folder, and whose archive is a bucket of a real S3 server with versions and object lock. */
import { test } from 'vitest'
import { absentVersitygw, startVersitygw, versitygwBinary, type Versitygw } from './versitygw.js'
import { openWorld, type World, type WorldOptions } from './world.js'

export type ArchiveKind = 'a folder' | 'S3'

export const archiveKinds: readonly ArchiveKind[] =
  versitygwBinary === undefined ? ['a folder'] : ['a folder', 'S3']

/** Says by name what is not tested where there is no S3 server. */
export function nameAbsentS3(what: string): void {
  if (versitygwBinary === undefined)
    test(`${what} in S3 is tested where versitygw is`, (context) => context.skip(absentVersitygw))
}

export interface ArchiveWorld {
  readonly world: World
  /** Of S3. */
  readonly s3?: Versitygw
  readonly address?: string
  close(): Promise<void>
}

export async function openArchiveWorld(kind: ArchiveKind, options: WorldOptions = {}): Promise<ArchiveWorld> {
  if (kind === 'a folder') {
    const world = await openWorld(options)
    return { world, close: () => world.close() }
  }
  const s3 = await startVersitygw()
  const address = (await s3.createBucket('annals')).replace('?', '/prod?')
  const environment = { ...options.environment, ANNALS_ARCHIVE_URL: address }
  const world = await openWorld({ ...options, environment })
  return {
    world,
    s3,
    address,
    async close() {
      await world.close()
      await s3.stop()
    },
  }
}
