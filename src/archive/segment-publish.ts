/**
 * Puts the objects of a segment into the archive, data before manifests. If the process dies in between, the next attempt
 * finds what is there:
 *
 *     data without a manifest   the same bytes are kept; others are deleted and written again: nobody has vouched for
 *                               them, and nothing names them
 *     a records manifest        it stands, with its file, if it names the same segment before it: the records of a range
 *                               are what they are, and reading them back verifies them
 *     a content manifest        the same content is kept; where it differs (an erasure came in between), it becomes the
 *                               next revision; leaves, which stand in the place of records that expired, likewise
 *
 * so that nothing signed is ever deleted or changed here. Data that a manifest vouches for and that is not there is written
 * again where it is the same. Records are put under lock last, once their manifest, which has its lock from the first
 * moment, vouches for them: what an attempt left that died before that must still be deletable.
 */
import { Readable } from 'node:stream'
import { maxNoteBytes, type Signer, type Verifier } from '../transparency-log/note.js'
import type { SegmentDocument, SegmentFile, SegmentLeaves, SegmentRange } from './contract.js'
import { SegmentFault } from './segment-fault.js'
import type { ArchiveKeys } from './segment-keys.js'
import {
  contentRevisions,
  formatManifest,
  leavesRevisions,
  openRecordsManifest,
  sha256Of,
  type ContentManifest,
  type LeavesManifest,
  type RecordsManifest,
  type RevisedManifest,
  type Revisions,
  type SegmentManifest,
} from './segment-manifest.js'
import { archiveKeysPath, recordsManifestPath, recordsPath } from './segment-paths.js'
import { readObject } from './segment-reader.js'
import type { SpoolFile } from './segment-spool.js'
import { ArchiveStoreError, type ArchiveStore } from './stores/contract.js'

export type WrittenRecords = NonNullable<SegmentDocument['records']>
export type WrittenContent = NonNullable<SegmentDocument['content']>

/** What stands in the place of a records file once some of it has expired. */
export interface WrittenLeaves extends SegmentLeaves {
  readonly file: SegmentFile
}

export interface Signing {
  /** Newest first. */
  readonly signers: readonly Signer[]
  readonly verifiers: readonly Verifier[]
}

export type RecordsStatement = Omit<RecordsManifest, 'file' | keyof SegmentRange>
export type ContentStatement = Omit<ContentManifest, 'file' | 'revision' | keyof SegmentRange>
export type LeavesStatement = Omit<LeavesManifest, 'file' | 'revision' | keyof SegmentRange>

export interface SegmentPublisher {
  signing(): Promise<Signing>
  records(
    range: SegmentRange,
    spooled: SpoolFile,
    statement: RecordsStatement,
    signing: Signing,
    lockUntil: Date | undefined,
  ): Promise<WrittenRecords>
  /**
   * Under the first revision, from the given one on, that is free or says the same.
   * @param spooled undefined = a file of no bytes
   */
  content(
    range: SegmentRange,
    spooled: SpoolFile | undefined,
    firstRevision: number,
    statement: ContentStatement,
    signing: Signing,
  ): Promise<WrittenContent>
  /** As `content`. */
  leaves(
    range: SegmentRange,
    spooled: SpoolFile,
    firstRevision: number,
    statement: LeavesStatement,
    signing: Signing,
  ): Promise<WrittenLeaves>
  /** Puts the verifier keys where a verifier looks for them. */
  keys(): Promise<void>
}

/** What is to be written as a revision. */
interface Revising<Manifest> {
  readonly range: SegmentRange
  /** undefined = a file of no bytes */
  readonly spooled: SpoolFile | undefined
  readonly firstRevision: number
  readonly signing: Signing
  readonly manifestOf: (revision: number, file: OwnFile) => Manifest
  readonly isSame: (a: Manifest, b: Manifest) => boolean
}

type Revised = Pick<WrittenContent, 'revision' | 'file' | 'manifestPath' | 'manifestSha256'>
type OwnFile = ReturnType<typeof withOwnMembers>

/** More revisions than that were not written by anybody. */
const maxAttempts = 1_000
const emptyFile: Omit<SegmentFile, 'path'> = { bytes: 0, sha256: sha256Of(''), members: [] }

export function createSegmentPublisher(store: ArchiveStore, keys: ArchiveKeys): SegmentPublisher {
  async function putData(spooled: SpoolFile, { path, bytes, sha256 }: SegmentFile): Promise<void> {
    const options = { sha256: Buffer.from(sha256, 'hex'), bytes }
    try {
      await store.put(path, () => spooled.read(), options)
    } catch (error) {
      if (!isExisting(error)) throw error
      await store.delete(path)
      await store.put(path, () => spooled.read(), options)
    }
  }

  /** What a manifest vouches for was lost before anybody read it back: the same bytes may stand there again. */
  async function putLost(spooled: SpoolFile | undefined, file: SegmentFile): Promise<void> {
    if (spooled === undefined || (await store.head(file.path)) !== undefined) return
    const { sha256 } = await spooled.finish()
    if (sha256 === file.sha256) await putData(spooled, file)
  }

  async function lockRecords(path: string, until: Date | undefined): Promise<void> {
    if (until !== undefined) await store.lock(path, until)
  }

  /** @returns SHA-256 of the note */
  async function putManifest(
    path: string,
    manifest: SegmentManifest,
    { signers }: Signing,
    lockUntil?: Date,
  ): Promise<string> {
    const bytes = Buffer.from(formatManifest(manifest, signers), 'utf8')
    const sha256 = sha256Of(bytes)
    await store.put(path, () => Readable.from([bytes]), {
      sha256: Buffer.from(sha256, 'hex'),
      bytes: bytes.length,
      lockUntil,
    })
    return sha256
  }

  async function adoptRecords(
    range: SegmentRange,
    { previous }: RecordsStatement,
    { verifiers }: Signing,
  ): Promise<WrittenRecords | undefined> {
    const path = recordsManifestPath(range)
    const note = await readObject(store, path, maxNoteBytes)
    if (note === undefined) return undefined
    const { manifest, sha256 } = openRecordsManifest(note, range, verifiers)
    if (manifest.previous !== previous)
      throw new SegmentFault('chain_broken', path, 'it names another segment before it')
    return { file: manifest.file, manifestPath: path, manifestSha256: sha256 }
  }

  /** Under the first revision, from the given one on, that is free or says the same. */
  async function revised<Manifest extends RevisedManifest>(
    { manifestPath, dataPath, open }: Revisions<Manifest>,
    { range, spooled, firstRevision, signing, manifestOf, isSame }: Revising<Manifest>,
  ): Promise<Revised> {
    const data = spooled === undefined ? emptyFile : await spooled.finish()
    let revision = firstRevision
    for (let attempt = 0; attempt < maxAttempts; attempt += 1) {
      const file = { path: dataPath(range, revision), ...data }
      const path = manifestPath(range, revision)
      const manifest = manifestOf(revision, withOwnMembers(file))
      const note = await readObject(store, path, maxNoteBytes)
      if (note !== undefined) {
        const found = open(note, range, revision, signing.verifiers)
        if (isSame(found.manifest, manifest)) {
          await putLost(spooled, file)
          return { revision, file, manifestPath: path, manifestSha256: found.sha256 }
        }
        revision += 1
        continue
      }
      if (spooled !== undefined) await putData(spooled, file)
      try {
        const manifestSha256 = await putManifest(path, manifest, signing)
        return { revision, file, manifestPath: path, manifestSha256 }
      } catch (error) {
        // Another attempt was quicker: what it wrote is looked at next.
        if (!isExisting(error)) throw error
      }
    }
    throw new Error('no revision is free')
  }

  return {
    signing: async () => ({ signers: await keys.signers(), verifiers: await keys.verifiers() }),

    async records(range, spooled, statement, signing, lockUntil) {
      const found = await adoptRecords(range, statement, signing)
      if (found !== undefined) {
        await putLost(spooled, found.file)
        await lockRecords(found.file.path, lockUntil)
        return found
      }
      const file = { path: recordsPath(range), ...(await spooled.finish()) }
      await putData(spooled, file)
      const manifest = { ...statement, ...range, file: withOwnMembers(file) }
      const manifestPath = recordsManifestPath(range)
      try {
        const manifestSha256 = await putManifest(manifestPath, manifest, signing, lockUntil)
        await lockRecords(file.path, lockUntil)
        return { file, manifestPath, manifestSha256 }
      } catch (error) {
        // Another attempt was quicker, and may have taken another checkpoint.
        const other = isExisting(error) ? await adoptRecords(range, statement, signing) : undefined
        if (other === undefined) throw error
        await lockRecords(other.file.path, lockUntil)
        return other
      }
    },

    async content(range, spooled, firstRevision, statement, signing) {
      const written = await revised(contentRevisions, {
        ...{ range, spooled, firstRevision, signing },
        manifestOf: (revision, file) => ({ ...statement, ...range, revision, file }),
        isSame: isSameContent,
      })
      return { state: statement.state, ...written }
    },

    async leaves(range, spooled, firstRevision, statement, signing) {
      const written = await revised(leavesRevisions, {
        ...{ range, spooled, firstRevision, signing },
        manifestOf: (revision, file) => ({ ...statement, ...range, revision, file }),
        isSame: isSameRest,
      })
      return { expired: statement.expired, ...written }
    },

    async keys() {
      const text = (await keys.verifierKeys()).map((key) => `${key}\n`).join('')
      const there = await readObject(store, archiveKeysPath, maxNoteBytes)
      if (there?.toString('utf8') !== text) await store.replace(archiveKeysPath, Buffer.from(text, 'utf8'))
    },
  }
}

/** Lists of the contract are read-only, those of a schema are not. */
const withOwnMembers = (file: SegmentFile) => ({ ...file, members: [...file.members] })

const isExisting = (error: unknown): boolean => error instanceof ArchiveStoreError && error.code === 'exists'

const isSameRest = (a: RevisedManifest, b: RevisedManifest): boolean =>
  a.file.sha256 === b.file.sha256 && a.records === b.records

const isSameContent = (a: ContentManifest, b: ContentManifest): boolean =>
  isSameRest(a, b) && a.state === b.state && a.ledgerSequence === b.ledgerSequence
