/** Logs of sample events in memory, their segments in a folder: archives without a database or a server. */
import { randomBytes } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import type { SegmentRange } from '../../src/archive/contract.js'
import type { SegmentEvidence } from '../../src/archive/segment-evidence.js'
import type { ArchiveKeys } from '../../src/archive/segment-keys.js'
import { createSegmentWriter, type SegmentWriter } from '../../src/archive/segment-writer.js'
import { tileOf, type SegmentLeaf } from '../../src/archive/segment.js'
import type { ArchiveStore } from '../../src/archive/stores/contract.js'
import { createFolderStore } from '../../src/archive/stores/folder.js'
import { createDetector } from '../../src/events/detectors/detector.js'
import type { EventInput, JsonObject } from '../../src/events/contract.js'
import { protectEvent } from '../../src/events/protect.js'
import { rebuildLeaf } from '../../src/events/rebuild.js'
import { eventSchema, parseEvent } from '../../src/events/schema.js'
import { eventIdOf, type StoredEvent } from '../../src/events/store.js'
import { newId, newReference } from '../../src/ids.js'
import { createOrganizationKeys } from '../../src/keys/organization-keys.js'
import { rootKeyFromBytes } from '../../src/keys/root-key.js'
import { Lease, systemClock } from '../../src/subjects/leases.js'
import { formatCheckpoint } from '../../src/transparency-log/checkpoint.js'
import { Frontier } from '../../src/transparency-log/frontier.js'
import type { Hash } from '../../src/transparency-log/hash.js'
import { nodeHasher, nodeNoteCrypto, sha256 } from '../../src/transparency-log/node-crypto.js'
import { signNote } from '../../src/transparency-log/note.js'
import {
  ed25519Signer,
  ed25519Verifier,
  formatVerifierKey,
  verifierKey,
} from '../../src/transparency-log/note-key.js'
import { proveTree } from '../../src/transparency-log/proof.js'
import { completeSubtrees, treeRoot, type HashReader } from '../../src/transparency-log/tree.js'
import { allSamples } from './samples.js'

const logOrigin = 'annals.test'

const organizationKeys = createOrganizationKeys(rootKeyFromBytes(randomBytes(32)))

/** Sample events as the hot store has them, with persons encrypted under keys that nobody keeps. */
export async function storedSamples(organizationId: string, count: number): Promise<StoredEvent[]> {
  const wrapped = await organizationKeys.createOrganizationKey(organizationId)
  const keyset = await organizationKeys.open(organizationId, wrapped)
  const samples = allSamples()
  const persons = new Map<string, string>()
  const subjectOf = (type: string, id: unknown) => {
    if (!/user|person|member/i.test(type)) return undefined
    const name = `${type}\0${String(id)}`
    const reference = persons.get(name) ?? newReference('sub')
    persons.set(name, reference)
    return { reference, key: randomBytes(32), lease: new Lease(systemClock) }
  }
  return Array.from({ length: count }, (_, index) => {
    const sample = samples[index % samples.length]
    const result = parseEvent({ ...sample, organizationId }, eventSchema, Date.now())
    if (!result.ok) throw new Error('a sample is an event')
    const { event } = result.parsed
    const subjects = {
      actor: subjectOf(event.actor.type, event.actor.id),
      targets: event.targets.map(({ type, id }) => subjectOf(type, id)),
    }
    const search = createDetector().begin()
    return protectEvent(event, subjects, keyset, {
      id: newId('evt'),
      receivedAt: new Date(),
      fingerprint: false,
      search,
    })
  })
}

/** An event of Annals' own, about nobody, with this metadata. */
export async function storedSystemEvent(
  organizationId: string,
  action: string,
  metadata: JsonObject,
): Promise<StoredEvent> {
  const wrapped = await organizationKeys.createOrganizationKey(organizationId)
  const keyset = await organizationKeys.open(organizationId, wrapped)
  const event: EventInput = {
    organizationId,
    action,
    occurredAt: new Date(),
    actor: { type: 'system', id: 'annals' },
    targets: [],
    context: {},
    outcome: 'success',
    category: 'system',
    metadata,
    version: 1,
  }
  const search = createDetector().begin()
  const options = { id: newId('evt'), receivedAt: new Date(), fingerprint: false, search }
  return protectEvent(event, { actor: undefined, targets: [] }, keyset, options)
}

/** A log over events, sealed some at a time, with its tree in memory. */
export class TestLog {
  readonly leaves: SegmentLeaf[] = []
  readonly #nodes = new Map<string, Hash>()
  readonly #frontier = new Frontier(nodeHasher, (level, index, hash) =>
    this.#nodes.set(`${String(level)}/${String(index)}`, hash),
  )
  readonly #pair = nodeNoteCrypto.importSeed(randomBytes(32))

  constructor(
    readonly organizationId: string,
    readonly generation = 1,
  ) {}

  seal(events: readonly StoredEvent[], sealedAt = new Date(1_790_000_000_000 + this.leaves.length)): void {
    for (const event of events) {
      const rebuilt = rebuildLeaf(event)
      if (rebuilt === undefined) throw new Error('what intake made makes a leaf')
      const { record, leafHash } = rebuilt
      const index = this.leaves.length
      this.leaves.push({ index, eventId: eventIdOf(event._id), sealedAt, leafHash, record, event })
      this.#frontier.append(leafHash)
    }
  }

  get origin(): string {
    return `${logOrigin}/${this.organizationId}/${String(this.generation)}`
  }

  get logKeys(): string[] {
    return [formatVerifierKey(verifierKey(this.origin, 'ed25519', this.#pair.publicKey, sha256))]
  }

  checkpoint(): string {
    const text = formatCheckpoint({
      origin: this.origin,
      size: this.leaves.length,
      root: this.#frontier.root(),
      extensions: [],
    })
    return signNote(text, [ed25519Signer(this.origin, this.#pair, sha256)])
  }

  range(from: number, to: number): SegmentRange {
    return { organizationId: this.organizationId, generation: this.generation, from, to }
  }

  async evidence(from: number, to: number): Promise<SegmentEvidence> {
    const reader: HashReader = {
      readHashes: (nodes) =>
        Promise.resolve(
          nodes.map(({ level, index }) => {
            const hash = this.#nodes.get(`${String(level)}/${String(index)}`)
            if (hash === undefined) throw new Error('the tree has no such node')
            return hash
          }),
        ),
    }
    return {
      frontier: from === 0 ? [] : await reader.readHashes(completeSubtrees({ from: 0, to: from })),
      root: await treeRoot(to, reader, nodeHasher),
      consistency: await proveTree(this.leaves.length, to, reader, nodeHasher),
      checkpoint: this.checkpoint(),
      logKeys: this.logKeys,
    }
  }

  /** As a segment's source gives them: tile by tile. */
  async *source(from: number, to: number): AsyncGenerator<readonly SegmentLeaf[]> {
    await Promise.resolve()
    for (let start = from; start < to;) {
      const end = Math.min(to, (tileOf(start) + 1) * 256)
      yield this.leaves.slice(start, end)
      start = end
    }
  }
}

/** Keys of manifests, made anew. */
export function testArchiveKeys(): ArchiveKeys {
  const pair = nodeNoteCrypto.importSeed(randomBytes(32))
  const name = `${logOrigin}/archive`
  const key = verifierKey(name, 'ed25519', pair.publicKey, sha256)
  return {
    signers: () => Promise.resolve([ed25519Signer(name, pair, sha256)]),
    verifierKeys: () => Promise.resolve([formatVerifierKey(key)]),
    verifiers: () => Promise.resolve([ed25519Verifier(key, nodeNoteCrypto)]),
  }
}

export interface TestArchive {
  readonly folder: string
  readonly store: ArchiveStore
  readonly keys: ArchiveKeys
  readonly writer: SegmentWriter
  read(path: string): Promise<Buffer>
  /** Overwrites an object by hand, as nobody should. */
  edit(path: string, bytes: Uint8Array): Promise<void>
  /** Writes the segments of a log that end at these leaves. */
  archive(log: TestLog, ends: readonly number[]): ReturnType<SegmentWriter['write']>
}

/** An empty archive in a folder of its own; gone when the test ends. */
export async function testArchive(keys = testArchiveKeys()): Promise<TestArchive> {
  const parent = await mkdtemp(join(tmpdir(), 'annals-archive-'))
  onTestFinished(() => rm(parent, { recursive: true, force: true }))
  const folder = join(parent, 'archive')
  const store = createFolderStore({ folder })
  const writer = createSegmentWriter({ store, keys, spoolFolder: join(parent, 'spool') })
  return {
    folder,
    store,
    keys,
    writer,
    read: (path) => readFile(join(folder, path)),
    edit: (path, bytes) => writeFile(join(folder, path), bytes),
    async archive(log, ends) {
      let from = 0
      let previous: string | null = null
      let last: Awaited<ReturnType<SegmentWriter['write']>> | undefined
      for (const to of ends) {
        const evidence = await log.evidence(from, to)
        last = await writer.write(log.range(from, to), log.source(from, to), { evidence, previous })
        previous = last.records.manifestSha256
        from = to
      }
      if (last === undefined) throw new Error('an archive of no segments')
      return last
    },
  }
}
