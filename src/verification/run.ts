/** The three things that `annals verify` verifies: a running server, a folder, a receipt. */
import type { Checkpoint, TrustedLog } from '../transparency-log/checkpoint.js'
import { equalHashes } from '../transparency-log/hash.js'
import { nodeNoteCrypto } from '../transparency-log/node-crypto.js'
import { notAnchored } from './anchor-check.js'
import {
  anchorOfFolder,
  anchorOfServer,
  anchorTrust,
  checkAnchored,
  noAnchorKeys,
  type Anchored,
  type AnchorOptions,
} from './anchor-source.js'
import type { AnchorReport, Finding, LogReport } from './contract.js'
import { downloadLog } from './download.js'
import { TamperingError, TrustError } from './errors.js'
import { openLogFolder } from './folder-source.js'
import type { LogSource } from './log-source.js'
import { laterEvents } from './later-generations.js'
import { walkLog, type WalkOptions } from './log-walk.js'
import { nodeRules } from './node-rules.js'
import { receiptAccounts } from './receipt-accounts.js'
import { checkReceipt, type Receipt, type ReceiptReport } from './receipt-check.js'
import { createLogServer, type LogServer, type ServerOptions } from './server-source.js'
import { findStrays } from './strays.js'
import { nameOfOrigin, openOrFind, originOfNote, trustedLog } from './trust.js'

export interface VerifyOptions {
  /** Verifier keys that were had from elsewhere; none = those that come with the log are taken. */
  readonly logKeys: readonly string[]
  readonly anchor?: AnchorOptions
  /** The signed note of an earlier checkpoint that is trusted. */
  readonly earlier?: string | undefined
  /** Values too, and not records alone. */
  readonly values: boolean
  readonly onProgress?: (leaves: number, size: number) => void
}

export interface LogVerification {
  readonly report: LogReport
  readonly anchor: AnchorReport
  /** The signed note that was verified; to be kept, for the next time. */
  readonly checkpoint: string
  /** The keys were not given, and taken from where the log is. */
  readonly trustedOnFirstUse: boolean
  readonly keys: readonly string[]
}

export interface ServerVerifyOptions extends VerifyOptions, ServerOptions {
  /** Absent = the generation that grows. */
  readonly generation?: number | undefined
  /** Make a folder to verify later, and do not verify now. */
  readonly download?: string | undefined
}

/** @throws AnnalsClientError | TrustError */
export async function verifyServer(options: ServerVerifyOptions): Promise<LogVerification> {
  const server = createLogServer(options)
  const given = options.logKeys.length > 0 ? trustedLog(options.logKeys, nodeNoteCrypto) : undefined
  const generation = options.generation ?? generationOf(given)
  const keys = given === undefined ? await server.keys(generation) : options.logKeys
  const log = given ?? trustedLog(keys, nodeNoteCrypto)
  // Before the checkpoint: what is anchored is not larger than it then.
  const anchored = await anchorOfServer(server, generation, options.anchor)
  const note = await server.checkpoint(generation)
  const named = nameOfOrigin(log.origin)
  const source = server.source(named?.generation ?? generation ?? 1, options.values)
  const later = () => laterEvents(server, log.origin, given === undefined ? undefined : options.logKeys)
  const verified = await verifyLog(source, note, log, { ...options, later }, anchored)
  const foreign = named?.organization === options.organization ? [] : [foreignKeys(log.origin)]
  const strays = verified.trusted && options.values ? await findStrays(server) : []
  return {
    report: withFindings(verified.report, [...foreign, ...strays]),
    anchor: verified.anchor,
    checkpoint: note,
    trustedOnFirstUse: given === undefined,
    keys,
  }
}

/** Downloads a log into a folder. @throws AnnalsClientError | TrustError | TamperingError where its checkpoint does not open */
export async function download(
  options: ServerVerifyOptions & { readonly download: string },
): Promise<{ readonly size: number; readonly origin: string; readonly trustedOnFirstUse: boolean }> {
  const server: LogServer = createLogServer(options)
  const given = options.logKeys.length > 0 ? trustedLog(options.logKeys, nodeNoteCrypto) : undefined
  const wanted = options.generation ?? generationOf(given)
  const keys = given === undefined ? await server.keys(wanted) : options.logKeys
  const log = given ?? trustedLog(keys, nodeNoteCrypto)
  const anchored = await server.anchor(wanted)
  const checkpoint = await server.checkpoint(wanted)
  const opened = openOrFind(checkpoint, log, 'checkpoint')
  if ('code' in opened) throw new TamperingError(`The checkpoint does not open: ${opened.detail}.`)
  const { size, origin } = opened
  const { anchor } = anchored
  await downloadLog(server, {
    folder: options.download,
    generation: nameOfOrigin(origin)?.generation ?? 1,
    size,
    checkpoint,
    keys,
    anchor,
    anchorKeys: anchor === undefined ? [] : await server.anchorKeys(),
    values: options.values,
    ...(options.onProgress === undefined ? {} : { onProgress: options.onProgress }),
  })
  return { size, origin, trustedOnFirstUse: given === undefined }
}

/** Offline: needs no server and no secret. @throws TrustError where there is no log in it, or no key for it */
export async function verifyFolder(folder: string, options: VerifyOptions): Promise<LogVerification> {
  const opened = await openLogFolder(folder, options.values)
  if (opened === undefined) throw new TrustError(`There is no checkpoint in ${folder}.`)
  const given = options.logKeys.length > 0
  const keys = given ? options.logKeys : opened.keys
  const log = trustedLog(keys, nodeNoteCrypto)
  const anchored = anchorOfFolder(opened, options.anchor)
  const { report, anchor } = await verifyLog(opened.source, opened.checkpoint, log, options, anchored)
  return { report, anchor, checkpoint: opened.checkpoint, trustedOnFirstUse: !given, keys }
}

/** Offline. @throws TrustError without a key: a receipt cannot vouch for itself */
export function verifyReceipt(
  receipt: Receipt,
  logKeys: readonly string[],
  anchor: AnchorOptions = noAnchorKeys,
): ReceiptReport {
  const { hasher, checkEvent } = nodeRules
  const trust = anchorTrust(anchor, anchor.keys)
  const log = trustedLog(logKeys, nodeNoteCrypto)
  const { index, record, accounts = [] } = receipt
  const accounting = receiptAccounts({ origin: log.origin, index, record, accounts }, logKeys)
  const report = checkReceipt(receipt, log, hasher, checkEvent, trust, accounting.excuse)
  return { ...report, accounts: accounting.report() }
}

const generationOf = (log: TrustedLog | undefined): number | undefined =>
  log === undefined ? undefined : nameOfOrigin(log.origin)?.generation

const foreignKeys = (origin: string): Finding => ({
  code: 'checkpoint_foreign',
  at: 'keys',
  detail: `the keys are those of ${origin}, which is not the log that was asked for`,
})

async function verifyLog(
  source: LogSource,
  note: string,
  log: TrustedLog,
  options: VerifyOptions & Pick<WalkOptions, 'later'>,
  anchored: Anchored,
): Promise<{ report: LogReport; anchor: AnchorReport; trusted: boolean }> {
  const opened = openOrFind(note, log, 'checkpoint')
  if ('code' in opened)
    return {
      report: withFindings(emptyReport(originOfNote(note) ?? ''), [opened]),
      anchor: notAnchored,
      trusted: false,
    }
  const earlier = earlierOf(options.earlier, log)
  const relation = earlier === undefined ? undefined : relationOf(earlier, opened)
  const report = await walkLog(source, opened, {
    ...nodeRules,
    generation: nameOfOrigin(opened.origin)?.generation ?? 1,
    earlier: relation === undefined ? earlier : undefined,
    later: options.later,
    ...(options.onProgress === undefined ? {} : { onProgress: options.onProgress }),
  })
  const seen = await checkAnchored(anchored, opened, source)
  return {
    report: withFindings(report, [...(relation === undefined ? [] : [relation]), ...seen.findings]),
    anchor: seen.report,
    trusted: true,
  }
}

/** @throws TrustError where what is trusted is no checkpoint of this log */
function earlierOf(note: string | undefined, log: TrustedLog): Checkpoint | undefined {
  if (note === undefined) return undefined
  const opened = openOrFind(note, log, 'earlier checkpoint')
  // A key may have gone since; that the user trusts the file is what it counts by, if it is of this log at all.
  if (!('code' in opened)) return opened
  if (opened.code === 'checkpoint_foreign' || originOfNote(note) !== log.origin)
    throw new TrustError(`The earlier checkpoint is not one of ${log.origin}.`)
  throw new TrustError(`The earlier checkpoint does not open: ${opened.detail}.`)
}

/** What two signed checkpoints say of each other before a leaf is read. */
function relationOf(earlier: Checkpoint, now: Checkpoint): Finding | undefined {
  if (earlier.size > now.size) {
    const detail = `the log has ${String(now.size)} leaves, and had ${String(earlier.size)} before`
    return { code: 'rolled_back', at: 'checkpoint', detail }
  }
  if (earlier.size === now.size && !equalHashes(earlier.root, now.root)) {
    const detail = `two different trees of ${String(now.size)} leaves were signed`
    return { code: 'checkpoint_inconsistent', at: 'checkpoint', detail }
  }
  return undefined
}

function withFindings(report: LogReport, more: readonly Finding[]): LogReport {
  if (more.length === 0) return report
  return {
    ...report,
    findings: [...more, ...report.findings],
    findingCount: report.findingCount + more.length,
  }
}

const emptyReport = (origin: string): LogReport => ({
  origin,
  size: 0,
  root: '',
  trustedLeaves: 0,
  leaves: 0,
  records: 0,
  events: 0,
  expired: 0,
  expiredRecords: 0,
  fields: { intact: 0, withheld: 0, erased: 0, expired: 0, missing: 0 },
  findings: [],
  findingCount: 0,
})
