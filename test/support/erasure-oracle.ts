/**
 * Reads the whole world of an erasure, at whatever moment, and says what must hold at every one of them:
 *
 *   - no key is gone that no intent, no manifest and no sealed event speaks of;
 *   - no event is lost: each row still makes its leaf;
 *   - the other organization is as it was.
 */
import { gunzipSync } from 'node:zlib'
import { BSON } from 'mongodb'
import { expect } from 'vitest'
import type { Core } from '../../src/composition.js'
import type { ErasureReference } from '../../src/erasure/contract.js'
import { manifestPath } from '../../src/erasure/manifests.js'
import { rebuildLeaf } from '../../src/events/rebuild.js'

export async function checkErasure(core: Core, request: ErasureReference, events: number): Promise<void> {
  const { organizationId, requestId } = request
  const { progress, ledger } = core.erasing.deps
  const begun = await progress.find(request)
  const subjects = core.db.collection<{ _id: string; state: string; key?: unknown; erasure?: string }>(
    'subjects',
  )
  for await (const subject of subjects.find({ organizationId })) {
    if (subject.state === 'active') expect(subject.key, subject._id).toBeDefined()
    if (subject.state === 'fenced') expect(begun?.steps.fence, 'a fence without an intent').toBeDefined()
    if (subject.state === 'fenced') expect(subject.key, 'a fenced subject without its key').toBeDefined()
    if (subject.state !== 'erased') continue
    expect(begun?.steps.destroy, 'a key is gone without an intent').toBeDefined()
    expect(begun?.steps.erasure_started?.doneAt, 'a key is gone and nothing is sealed').toBeDefined()
    expect(
      await ledger.manifest(manifestPath(request, 'subjects')),
      'a key is gone without a manifest',
    ).toBeDefined()
    const started = await core.sealing.store.locate(organizationId, begun?.startedEventId ?? '')
    expect(started, 'the event of the erasure has no leaf').toBeDefined()
    expect(subject.erasure).toBe(requestId)
  }
  let stored = 0
  for await (const event of core.events.find({ organizationId, category: { $ne: 'system' } })) {
    stored += 1
    expect(rebuildLeaf(event)?.leafHash.equals(event.leafHash), event._id).toBe(true)
  }
  expect(stored).toBe(events)
}

/** Places whose bytes hold one of the values, as the test's own reader finds them. */
export async function rawHits(
  core: Core,
  organizationId: string,
  values: readonly string[],
): Promise<string[]> {
  const hits: string[] = []
  const ours = { $or: [{ organizationId }, { organizationId: { $exists: false } }] }
  for (const { name } of await core.db.listCollections().toArray()) {
    for await (const document of core.db.collection(name).find(ours)) {
      const text = Buffer.from(BSON.serialize(document)).toString('latin1').toLowerCase()
      if (values.some((value) => text.includes(value.toLowerCase())))
        hits.push(`${name}/${String(document._id)}`)
    }
  }
  return hits.sort()
}

/** Versions of archive objects of an organization whose bytes, unpacked, hold one of the values. */
export async function archiveHits(
  { archive }: Pick<Core, 'archive'>,
  organizationId: string,
  values: readonly string[],
): Promise<string[]> {
  const hits: string[] = []
  for await (const version of archive.versions(`${organizationId}/`)) {
    const stream = await archive.getVersion(version)
    if (stream === undefined) continue
    const bytes = Buffer.concat((await stream.toArray()) as Buffer[])
    const text = (version.path.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8').toLowerCase()
    if (values.some((value) => text.includes(value.toLowerCase())))
      hits.push(`${version.path} ${version.version}`.trim())
  }
  return hits.sort()
}
