/** `annals verify SERVER|RECEIPT|FOLDER|ARCHIVE|CERTIFICATE`: does everything that was logged still stand as it was signed? */
import { readFile, stat, writeFile } from 'node:fs/promises'
import { InvalidArgumentError } from 'commander'
import { AnnalsError } from '../../errors.js'
import { organizationIdPattern } from '../../organizations/contract.js'
import { LogError } from '../../transparency-log/errors.js'
import type { AnchorOptions } from '../../verification/anchor-source.js'
import type { AnchorReport } from '../../verification/contract.js'
import {
  isArchiveAddress,
  isArchiveFolder,
  openArchive,
  verifyArchive,
} from '../../verification/archive-run.js'
import { isCertificate } from '../../verification/certificate-check.js'
import { TamperingError, TrustError, UnwitnessedError } from '../../verification/errors.js'
import { receiptOfJson, receiptOfText, type Receipt } from '../../verification/receipt-check.js'
import {
  download,
  verifyFolder,
  verifyReceipt,
  verifyServer,
  type LogVerification,
  type VerifyOptions,
} from '../../verification/run.js'
import { nameOfOrigin } from '../../verification/trust.js'
import { withExample, type CliContext, type RegisterCommand } from '../context.js'
import type { Output } from '../output.js'
import { apiAddress } from '../running.js'
import { verifyCertificate } from '../verify/certificate.js'
import { everyLogText, organizationsOf, verifyEach } from '../verify/every-log.js'
import { createLeafProgress, type LeafProgress } from '../verify/progress.js'
import { publishedKeys } from '../verify/published-keys.js'
import { anchorText, archiveSummary, archiveText, logText, receiptText, summaryOf } from '../verify/report.js'

interface Options {
  readonly key?: string
  readonly organization?: string
  readonly generation?: number
  readonly logKey: readonly string[]
  readonly archiveKey: readonly string[]
  readonly anchorKey: readonly string[]
  readonly certificateKey: readonly string[]
  readonly url?: string
  readonly witnessKey: readonly string[]
  readonly logId?: string
  readonly witnesses?: number
  readonly from?: string
  readonly save?: string
  readonly download?: string
  readonly record?: string
  readonly values: boolean
  readonly masked?: boolean
}

export const registerVerify: RegisterCommand = (program, context) => {
  const command = program
    .command('verify')
    .argument(
      '[target]',
      'a server (http…), a downloaded folder, a receipt, a certificate, or an archive (file:…, s3:…, its folder); default: the running "annals up"',
    )
    .description('Verify values, records, tree and signature; exits 3 where something does not hold')
    .option(
      '--organization <id>',
      'whose log, on a server (default: all, with an owner’s key) or in an archive (default: all)',
      organizationOf,
    )
    .option('--key <key>', "a reader's key, for a server (default: ANNALS_KEY)")
    .option(
      '--log-key <key>',
      'a verifier key of the log that you had from elsewhere; repeatable',
      collect,
      [],
    )
    .option(
      '--archive-key <key>',
      'a verifier key of an archive that you had from elsewhere; repeatable',
      collect,
      [],
    )
    .option(
      '--certificate-key <key>',
      'a verifier key of certificates that you had from elsewhere; repeatable',
      collect,
      [],
    )
    .option(
      '--url <url>',
      'whose published keys check a certificate (default: the running "annals up") or an archive (default: its own)',
    )
    .option('--anchor-key <key>', 'a verifier key of the anchor log; repeatable', collect, [])
    .option(
      '--witness-key <key>',
      "a witness's key: whether it has cosigned is said; repeatable",
      collect,
      [],
    )
    .option('--witnesses <n>', 'fail unless it is anchored, and so many of these have cosigned it', countOf)
    .option('--log-id <id>', 'the id that the log has in the anchor log, as an earlier verification said')
    .option('--generation <n>', 'the generation of the log (default: the newest)', generationOf)
    .option(
      '--from <file>',
      'an earlier checkpoint that you trust: go on from it, and prove that the log does',
    )
    .option('--save <file>', 'keep the verified checkpoint in this file, for the next --from')
    .option('--download <folder>', 'from a server: make a folder that verifies offline, instead of verifying')
    .option('--record <file>', 'the record of a text receipt (default: the receipt’s name and .record)')
    .option('--masked', 'from a server: read no person, also where the key may')
    .option('--no-values', 'records and tree only')
    .action(async (target: string | undefined, options: Options, self: typeof command) => {
      const output = context.output(self)
      if (target === undefined || /^https?:\/\//.test(target)) {
        await fromServer(target, options, context, output)
      } else if (isArchiveAddress(target) || (await isArchiveFolder(target))) {
        await fromArchive(target, options, output)
      } else if (await isFolder(target)) {
        const common = await commonOptions(options, output, 'verify')
        await finish(await verifyFolder(target, common).finally(common.end), options, output)
      } else {
        const text = await readFile(target, 'utf8').catch(() => '')
        if (isCertificate(text)) await verifyCertificate(text, options, context, output)
        else await fromReceipt(target, options, output)
      }
    })
  withExample(
    command,
    'annals verify http://127.0.0.1:4100',
    'annals verify http://127.0.0.1:4100 --organization org_acme --log-key "$(cat log.key)" --save last.checkpoint',
    'annals verify http://127.0.0.1:4100 --organization org_acme --download copy && annals verify copy',
    'annals verify evt_01jd….receipt.json --log-key "$(cat log.key)" --anchor-key "$(cat anchor.key)"',
    'annals verify erasure_01jd….json --certificate-key "$(cat certificate.key)" --log-key "$(cat log.key)"',
    'annals verify file:/var/annals/archive --archive-key "$(cat archive.key)"',
  )
}

async function fromServer(
  target: string | undefined,
  options: Options,
  context: CliContext,
  output: Output,
): Promise<void> {
  const { url, key } = apiAddress(context.loadConfig(), { url: target, key: options.key })
  if (key === undefined) throw new AnnalsError('unauthenticated', 'No key: give --key, or set ANNALS_KEY.')
  const organization = options.organization ?? organizationOfKeys(options.logKey)
  if (organization === undefined) {
    await everyLog({ url, key, masked: options.masked === true }, options, output)
    return
  }
  const common = await commonOptions(options, output, options.download === undefined ? 'verify' : 'download')
  const server = {
    ...common,
    url,
    key,
    organization,
    generation: options.generation,
    masked: options.masked === true,
  }
  if (options.download === undefined) {
    await finish(await verifyServer(server).finally(common.end), options, output)
    return
  }
  const folder = options.download
  const done = await download({ ...server, download: folder }).finally(common.end)
  if (done.trustedOnFirstUse) output.note(firstUse(url))
  output.result(
    { ...done, folder },
    () =>
      `${String(done.size)} leaves of ${done.origin} are in ${folder}; verify them with: annals verify ${folder}`,
  )
}

/** @throws TrustError where an option is of one log, or the key may not list organizations */
async function everyLog(
  server: { readonly url: string; readonly key: string; readonly masked: boolean },
  options: Options,
  output: Output,
): Promise<void> {
  const ofOneLog = (['logKey', 'logId', 'generation', 'from', 'save', 'download'] as const).find((name) => {
    const given = options[name]
    return Array.isArray(given) ? given.length > 0 : given !== undefined
  })
  if (ofOneLog !== undefined)
    throw new TrustError(`Whose log? ${optionOf(ofOneLog)} is of one: give --organization, too.`)
  const every = await verifyEach(await organizationsOf(server), async (organization) => {
    const common = await commonOptions(options, output, `verify ${organization}`)
    return verifyServer({ ...common, ...server, organization }).finally(common.end)
  })
  const { logs, elsewhere, absent } = every
  if (logs.length + absent.length === 0)
    throw new TrustError('The server names no organization that has a log here: nothing was verified.')
  output.note(firstUse(server.url))
  if (options.anchorKey.length === 0 && logs.some(({ anchor }) => anchor.state === 'anchored'))
    output.note(firstUseOfAnchor)
  const broken = logs.filter(({ report }) => report.findingCount > 0)
  output.result(
    {
      verdict: verdictOf(broken.length),
      logs: logs.map(({ organization, report, anchor, keys }) => ({
        ...{ organization, verdict: verdictOf(report.findingCount), keys, ...report, anchor },
      })),
      ...{ elsewhere, absent },
    },
    () => everyLogText(every),
  )
  const [first] = broken
  if (first !== undefined) {
    const { organization, report } = first
    throw new TamperingError(
      `${String(broken.length)} of ${String(logs.length)} logs do not hold; ${organization}: ${summaryOf(report.findings, report.findingCount)}`,
    )
  }
  if (absent.length > 0)
    throw new TrustError(
      `No log is here of: ${absent.map((one) => one.organization).join(', ')}. What was accepted a moment ago is not sealed yet: try again.`,
    )
  for (const { organization, anchor } of logs) requireWitnesses(anchor, options, organization)
}

/** As it is written: `--log-key`. */
const optionOf = (name: string) => `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`

/** Needs no server, no database and no secret. */
async function fromArchive(target: string, options: Options, output: Output): Promise<void> {
  const { archiveKey: given, url } = options
  const asked = given.length === 0 && url !== undefined ? await publishedKeys(url, '/v1/archive/keys') : []
  const progress = progressOf(output, 'verify')
  const { report, ...trust } = await verifyArchive(await openArchive(target), {
    archiveKeys: [...given, ...asked],
    logKeys: options.logKey,
    organizationId: options.organization,
    generation: options.generation,
    values: options.values,
    onProgress: (leaves, total) => progress.update(leaves, total),
  }).finally(() => progress.end())
  if (trust.trustedOnFirstUse) output.note(firstUseOfArchive)
  if (url !== undefined && asked.length > 0) output.note(keysOfServer(url))
  const { findings, findingCount } = report
  output.result({ verdict: verdictOf(findingCount), ...trust, ...report }, () => archiveText(report))
  if (findingCount > 0) throw new TamperingError(archiveSummary(findings, findingCount))
}

async function fromReceipt(path: string, options: Options, output: Output): Promise<void> {
  const receipt = await readReceipt(path, options.record)
  const report = verifyReceipt(receipt, options.logKey, anchorOptions(options))
  const { findings, anchor } = report
  output.result({ verdict: verdictOf(findings.length), ...report }, () => receiptText(report))
  if (findings.length > 0) throw new TamperingError(summaryOf(findings, findings.length))
  requireWitnesses(anchor, options)
}

async function readReceipt(path: string, recordPath: string | undefined): Promise<Receipt> {
  const text = await readFile(path, 'utf8').catch(() => {
    throw new TrustError(`There is neither a folder nor a receipt at ${path}.`)
  })
  try {
    if (text.trimStart().startsWith('{')) return receiptOfJson(JSON.parse(text))
    const beside = recordPath ?? `${path}.record`
    const record = await readFile(beside, 'utf8').catch(() => {
      throw new TrustError(`The record of the receipt is needed: ${beside} is not there (see --record).`)
    })
    // An editor's last newline is no part of it: no record ends in one.
    return receiptOfText(text, record.replace(/\n$/, ''))
  } catch (error) {
    if (error instanceof LogError) throw new TamperingError(`This is no receipt: ${error.detail}.`)
    if (error instanceof SyntaxError) throw new TamperingError('This is no receipt: it is no JSON.')
    throw error
  }
}

async function commonOptions(
  options: Options,
  output: Output,
  what: string,
): Promise<VerifyOptions & { readonly end: () => void }> {
  const progress = progressOf(output, what)
  const earlier = options.from === undefined ? undefined : await readNote(options.from)
  return {
    logKeys: options.logKey,
    anchor: anchorOptions(options),
    values: options.values,
    earlier,
    onProgress: (leaves, size) => progress.update(leaves, size),
    end: () => progress.end(),
  }
}

function progressOf(output: Output, what: string): LeafProgress {
  const kind = output.json ? 'none' : process.stderr.isTTY ? 'terminal' : 'plain'
  return createLeafProgress(process.stderr, kind, what)
}

async function finish(verification: LogVerification, options: Options, output: Output): Promise<void> {
  const { report, anchor, checkpoint, keys, trustedOnFirstUse } = verification
  if (trustedOnFirstUse) output.note(firstUse('where the log is'))
  if (anchor.state === 'anchored' && options.anchorKey.length === 0) output.note(firstUseOfAnchor)
  const verdict = verdictOf(report.findingCount)
  output.result({ verdict, trustedOnFirstUse, keys, ...report, anchor }, () =>
    [logText(report), anchorText(anchor)].join('\n'),
  )
  if (report.findingCount > 0) throw new TamperingError(summaryOf(report.findings, report.findingCount))
  requireWitnesses(anchor, options)
  if (options.save !== undefined) await writeFile(options.save, checkpoint)
}

const anchorOptions = ({ anchorKey, witnessKey, logId, witnesses }: Options): AnchorOptions => ({
  keys: anchorKey,
  witnessKeys: witnessKey,
  logId,
  witnesses,
})

/** @throws UnwitnessedError */
function requireWitnesses({ state, cosignedBy }: AnchorReport, { witnesses }: Options, whose = 'It'): void {
  if (witnesses === undefined || (state === 'anchored' && cosignedBy.length >= witnesses)) return
  const seen = state === 'anchored' ? `${String(cosignedBy.length)} have cosigned it` : 'it is not anchored'
  throw new UnwitnessedError(
    `${whose} holds, and ${String(witnesses)} witnesses were asked for: ${seen}. Try again in a minute.`,
  )
}

const firstUseOfAnchor =
  'verify: no --anchor-key was given; the keys of the anchor log come from where the log is. Pin them the next time.'

const firstUseOfArchive =
  'verify: no --archive-key was given; the keys come from the archive itself. Keep them, and pin them the next time.'

const keysOfServer = (url: string) =>
  `verify: no --archive-key was given; the keys come from ${url}. Keep them, and pin them the next time.`

const verdictOf = (findings: number) => (findings === 0 ? 'intact' : 'tampering')

const firstUse = (where: string) =>
  `verify: no --log-key was given; the keys come from ${where} and are trusted at first use. Keep them, and pin them the next time.`

const readNote = (path: string): Promise<string> =>
  readFile(path, 'utf8').catch(() => {
    throw new TrustError(`There is no checkpoint at ${path}.`)
  })

const organizationOfKeys = ([key = '']: readonly string[]): string | undefined =>
  nameOfOrigin(key.slice(0, key.indexOf('+')))?.organization

const isFolder = (path: string): Promise<boolean> =>
  stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  )

const collect = (value: string, before: readonly string[]): string[] => [...before, value]

function organizationOf(text: string): string {
  if (!organizationIdPattern.test(text)) throw new InvalidArgumentError('1 to 64 of A-Z, a-z, 0-9, _ and -.')
  return text
}

function countOf(text: string): number {
  if (!/^\d{1,3}$/.test(text)) throw new InvalidArgumentError('It must be a whole number, 0 to 999.')
  return Number(text)
}

function generationOf(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError('It must be a whole number, 1 or more.')
  return Number(text)
}
