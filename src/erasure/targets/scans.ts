/**
 * Scans and their findings: free form of the jobs', which no log commits to. Whatever part of one names the person goes
 * whole, and the fingerprints of the bodies with it.
 */
import type { Collection, Db, UpdateFilter } from 'mongodb'
import { collectionNames } from '../../mongo/collections.js'
import type { FindingsDocument, ScanDocument } from '../../scans/store.js'
import type { ErasureTarget, ErasureWork } from './contract.js'

const pageSize = 500

export function scansTarget(db: Db): ErasureTarget {
  const scans: Collection<ScanDocument> = db.collection(collectionNames.scans)
  const findings: Collection<FindingsDocument> = db.collection(collectionNames.scanFindings)

  /** Every scan and finding that names the person, with the update that takes it out. */
  async function* found(work: ErasureWork) {
    const { organizationId, until } = work
    const named = namesIn(work)
    let seen = 0
    const started = until === undefined ? {} : { startedAt: { $lte: until } }
    for await (const scan of scans.find({ organizationId, ...started }).batchSize(pageSize)) {
      if (seen++ % pageSize === 0) work.beat()
      const set = {
        ...(named(scan.metadataJson) ? { metadataJson: '{}', bodyFingerprint: null } : {}),
        ...(named(scan.progress?.message) || named(scan.progress?.counts)
          ? { 'progress.message': null, 'progress.counts': null }
          : {}),
        ...(named(scan.end?.link) || named(scan.end?.counts)
          ? { 'end.link': null, 'end.counts': null, 'end.bodyFingerprint': null }
          : {}),
        ...(named(scan.engine) ? { engine: 'erased' } : {}),
      }
      if (Object.keys(set).length > 0) yield { scan: scan._id, set }
    }
    const written = until === undefined ? {} : { at: { $lte: until } }
    const inOrganization = { _id: { $gte: `${organizationId}/`, $lt: `${organizationId}0` }, organizationId }
    for await (const finding of findings.find({ ...inOrganization, ...written }).batchSize(pageSize)) {
      if (seen++ % pageSize === 0) work.beat()
      const set = {
        ...(named(finding.findingsJson) ? { findingsJson: null } : {}),
        ...(named(finding.reason) ? { reason: null } : {}),
      }
      if (Object.keys(set).length > 0) yield { finding: finding._id, scanId: finding.scanId, set }
    }
  }

  const count = async (work: ErasureWork): Promise<number> => {
    let items = 0
    const ones = found(work)
    while ((await ones.next()).done !== true) items += 1
    return items
  }

  return {
    name: 'scans',
    collections: [collectionNames.scans, collectionNames.scanFindings],
    scope: count,
    async erase(work) {
      let changed = 0
      for await (const one of found(work)) {
        changed += 1
        const update: UpdateFilter<ScanDocument & FindingsDocument> = { $set: one.set }
        if ('scan' in one) await scans.updateOne({ _id: one.scan }, update)
        else {
          await findings.updateOne({ _id: one.finding }, update)
          // A repeat of the finish is no longer compared: its fingerprint would outlive what it was made of.
          await scans.updateOne(
            { _id: `${work.organizationId}/${one.scanId}`, end: { $ne: null } },
            { $set: { 'end.bodyFingerprint': null } },
          )
        }
      }
      return changed
    },
    verify: count,
  }
}

/** Does a text, or a text with JSON in it, name the person? */
function namesIn({ matcher }: ErasureWork): (text: unknown) => boolean {
  return (text) => {
    if (typeof text === 'object' && text !== null) return matcher.find(JSON.stringify(text)).length > 0
    if (typeof text !== 'string') return false
    return matcher.find(isJson(text) ? text : JSON.stringify(text)).length > 0
  }
}

const isJson = (text: string): boolean => /^[[{"]/.test(text)
