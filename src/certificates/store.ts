/**
 * Where certificates lie: beside the erasure ledger, apart from the database, so that one is the same bytes ever after,
 * also when an older database is restored.
 *
 *     <org>/certificates/<id>.<version, four digits>.json
 *
 * Objects are written once. Of two that issue the same version at once one is refused, and hands out the other's.
 */
import { hash } from 'node:crypto'
import { Readable } from 'node:stream'
import { ArchiveStoreError, type ArchiveStore } from '../archive/stores/contract.js'

export interface StoredCertificate {
  readonly version: number
  readonly bytes: Buffer
  /** 64 hex digits. */
  readonly sha256: string
}

export interface CertificateName {
  readonly organizationId: string
  readonly id: string
}

export interface CertificateStore {
  /** The newest version; undefined where none was issued. @throws ArchiveStoreError */
  newest(name: CertificateName): Promise<StoredCertificate | undefined>
  /** Keeps a version, unless it is there. @returns the one that is kept. @throws ArchiveStoreError */
  put(name: CertificateName, version: number, bytes: Buffer): Promise<StoredCertificate>
}

/** A certificate is issued anew when an exception ends: a few times. */
const maxVersions = 1_000
const maxBytes = 16 * 1024 * 1024

export function createCertificateStore(store: Pick<ArchiveStore, 'get' | 'put'>): CertificateStore {
  const pathOf = ({ organizationId, id }: CertificateName, version: number) =>
    `${organizationId}/certificates/${id}.${String(version).padStart(4, '0')}.json`

  async function read(name: CertificateName, version: number): Promise<StoredCertificate | undefined> {
    const stream = await store.get(pathOf(name, version))
    if (stream === undefined) return undefined
    const chunks: Buffer[] = []
    let length = 0
    for await (const chunk of stream) {
      const part = Buffer.from(chunk as Uint8Array)
      length += part.length
      if (length > maxBytes) throw new Error('a certificate is larger than any can be')
      chunks.push(part)
    }
    const bytes = Buffer.concat(chunks)
    return { version, bytes, sha256: hash('sha256', bytes, 'hex') }
  }

  return {
    async newest(name) {
      let newest: StoredCertificate | undefined
      for (let version = 1; version <= maxVersions; version += 1) {
        const found = await read(name, version)
        if (found === undefined) break
        newest = found
      }
      return newest
    },
    async put(name, version, bytes) {
      if (version > maxVersions) throw new Error('a certificate was issued more often than any can be')
      const sha256 = hash('sha256', bytes, 'buffer')
      try {
        const source = () => Readable.from([bytes])
        await store.put(pathOf(name, version), source, { sha256, bytes: bytes.length })
      } catch (error) {
        if (!(error instanceof ArchiveStoreError) || error.code !== 'exists') throw error
      }
      const kept = await read(name, version)
      if (kept === undefined) throw new Error('a certificate that was just kept is not there')
      return kept
    },
  }
}
