/** The second reader's own credentials for an archive in S3: a profile of the SDK's configuration. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { loadConfig } from '../../src/config.js'
import { checkArchiveReader } from '../../src/operations/reader-checks.js'
import { archiveAll, canaryIdentifiers, person, post } from '../support/archived-person.js'
import { erasingRun } from '../support/erasing.js'
import { absentVersitygw, startVersitygw, versitygwBinary, type Versitygw } from '../support/versitygw.js'
import { openWorld, type World } from '../support/world.js'

const absent = versitygwBinary === undefined
if (absent) test('S3 profiles are tested where versitygw is', (context) => context.skip(absentVersitygw))

describe.runIf(!absent)('with the archive in S3', () => {
  let s3: Versitygw
  let world: World
  beforeAll(async () => {
    s3 = await startVersitygw()
    const { accessKeyId, secretAccessKey } = s3.credentials
    const profile = (name: string, secret: string) =>
      `[${name}]\naws_access_key_id = ${accessKeyId}\naws_secret_access_key = ${secret}\n`
    const profiles = join(s3.folder, '..', 'profiles')
    await writeFile(profiles, profile('refused', 'no secret of anybody') + profile('writer', secretAccessKey))
    vi.stubEnv('AWS_SHARED_CREDENTIALS_FILE', profiles)
    world = await openWorld({
      environment: {
        ANNALS_ARCHIVE_URL: await s3.createBucket('annals'),
        ANNALS_ARCHIVE_READER_PROFILE: 'refused',
      },
    })
  })
  afterAll(async () => {
    await world.close()
    await s3.stop()
  })

  test('what it reads it reads by them: where they are refused nothing is verified, and all else goes on', async () => {
    const organizationId = 'org_profile'
    await post(world, organizationId, { actor: person })
    await archiveAll(world, organizationId)
    const run = erasingRun(world.api.core, organizationId, canaryIdentifiers)
    await run.scope()
    await expect(run.toVerified()).rejects.toMatchObject({
      target: 'archive_content',
      reason: 'archive_unavailable',
    })
    expect((await run.deps.progress.read(run)).steps.subject_erased?.doneAt).toBeDefined()
  })

  test('the doctor warns of a profile that can write', async () => {
    const { archive } = world.config
    expect(await checkArchiveReader(archive, 'writer')).toEqual({
      warning: expect.stringContaining('can write') as string,
    })
    const folder = loadConfig({ ANNALS_ARCHIVE_URL: 'file:archive' }).archive
    expect(await checkArchiveReader(folder, 'writer')).toHaveProperty('warning')
  })
})
