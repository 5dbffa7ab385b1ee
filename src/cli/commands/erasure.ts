/** `annals erasure …`: a privacy officer's way to submit, follow and decide on erasure requests, over HTTP. */
import { randomUUID } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { InvalidArgumentError, type Command } from 'commander'
import { createTransport, requestJson } from '../../client/transport.js'
import { AnnalsError } from '../../errors.js'
import {
  erasureGrounds,
  exemptionGrounds,
  jointFreeTextChoices,
  retirementOutcomes,
  type ErasureIdentifier,
  type Exemption,
} from '../../erasure/contract.js'
import { organizationIdPattern } from '../../organizations/contract.js'
import { requestText } from '../erasure/report.js'
import { withExample, type CliContext, type RegisterCommand } from '../context.js'
import type { Output } from '../output.js'
import { apiAddress } from '../running.js'

interface Common {
  readonly url?: string
  readonly key?: string
  readonly organization: string
}

interface SubmitOptions extends Common {
  readonly id: readonly ErasureIdentifier[]
  readonly email: readonly string[]
  readonly phone: readonly string[]
  readonly other: readonly string[]
  readonly ground: string
  readonly requester: string
  readonly channel: string
  readonly receivedAt?: string
  readonly jointFreeText?: string
  readonly recipient: readonly { readonly name: string; readonly url: string }[]
}

export const registerErasure: RegisterCommand = (program, context) => {
  const erasure = program
    .command('erasure')
    .description('Submit, follow and decide on requests to forget a person, over HTTP')
  registerSubmit(erasure, context)
  registerShow(erasure, context)
  registerCertificate(erasure, context)

  action(erasure, context, 'verify-identity', 'Say whether the requester is who they claim to be')
    .requiredOption('--method <words>', 'how it was verified')
    .requiredOption('--result <result>', 'verified or failed')
    .option('--note <words>', 'kept with the request until it ends')
  action(erasure, context, 'approve', 'Approve; never by who submitted it')
    .option('--note <words>', 'kept with the request until it ends')
    .option(
      '--exempt <class=ground>',
      'records that stay, such as billing.*=17(3)(b); repeatable',
      exemptionOf,
      [],
    )
    .option(
      '--confirm <position>',
      'all persons that this identifier leads to are meant, and its hits in clear text; repeatable',
      countOf,
      [],
    )
  action(erasure, context, 'deny', 'Deny, with an exemption of Art. 17(3); never by who submitted it')
    .requiredOption('--ground <ground>', exemptionGrounds.join(', '))
    .requiredOption('--note <words>', 'why; kept with the request until it ends')
  action(
    erasure,
    context,
    'extend',
    'Extend the deadline by two months, once, within the first month',
  ).requiredOption('--reason <words>', 'what the person is told')
  action(erasure, context, 'withdraw', 'Withdraw, before the fence').option('--note <words>', 'why')
  action(erasure, context, 'attest', 'State what Annals cannot look at itself, or what became of a target')
    .requiredOption(
      '--target <name>',
      'a log system elsewhere, or the target that the request has stopped for',
    )
    .requiredOption('--statement <words>', 'with an outcome: kept for ever, and naming nobody')
    .option(
      '--outcome <outcome>',
      `retires the target; never by who submitted it: ${retirementOutcomes.join(', ')}`,
    )
  action(erasure, context, 'retry', 'Go on after seeing to what stopped it (an operator’s key)')
  withExample(
    erasure,
    'annals erasure submit --organization org_acme --id user:u_17 --email jane@acme.example --ground "17(1)(b)" --requester "data subject" --channel ticket',
    'annals erasure approve erasure_01kaxa2v8ve5cv9sc8ff5fs8ac --organization org_acme --exempt "billing.*=17(3)(b)"',
  )
}

function common(command: Command): Command {
  return command
    .requiredOption('--organization <id>', 'whose', organizationOf)
    .option('--url <url>', 'the API (default: ANNALS_URL, or the running "annals up")')
    .option('--key <key>', 'an officer’s key (default: ANNALS_KEY)')
}

function registerSubmit(parent: Command, context: CliContext): void {
  const command = common(parent.command('submit'))
    .description('Submit a request; prints its id and when it is due')
    .option('--id <type:value>', 'an id and its type, such as user:u_17; repeatable', idOf, [])
    .option('--email <address>', 'repeatable', collect, [])
    .option('--phone <number>', 'repeatable', collect, [])
    .option('--other <text>', 'whatever else names the person; repeatable', collect, [])
    .requiredOption('--ground <ground>', erasureGrounds.join(', '))
    .requiredOption('--requester <words>', 'who asks')
    .requiredOption('--channel <words>', 'by which way')
    .option('--received-at <time>', 'when the person asked: RFC 3339 with zone (default: now)')
    .option('--joint-free-text <choice>', `text that names others too: ${jointFreeTextChoices.join(' or ')}`)
    .option('--recipient <name=url>', 'who got the data, and is told; repeatable', recipientOf, [])
    .action(async (options: SubmitOptions, self: Command) => {
      const body = {
        identifiers: [
          ...options.id,
          ...options.email.map((value) => ({ kind: 'email', value })),
          ...options.phone.map((value) => ({ kind: 'phone', value })),
          ...options.other.map((value) => ({ kind: 'other', value })),
        ],
        ground: options.ground,
        requester: options.requester,
        channel: options.channel,
        receivedAt: options.receivedAt ?? localTime(new Date()),
        ...(options.jointFreeText === undefined ? {} : { jointFreeText: options.jointFreeText }),
        ...(options.recipient.length === 0 ? {} : { recipients: options.recipient }),
      }
      print(context.output(self), await call(context, options, 'POST', '', body))
    })
  withExample(
    command,
    'annals erasure submit --organization org_acme --id user:u_17 --ground "17(1)(b)" --requester "data subject" --channel letter --received-at 2026-11-20T09:00:00+01:00',
  )
}

function registerShow(parent: Command, context: CliContext): void {
  const command = common(parent.command('show'))
    .argument('<id>', 'erasure_…')
    .description('Show a request: where it stands, its scope, and what happened')
    .option('--personal', 'with whom it is about; takes the personal grant, and is logged')
    .action(async (id: string, options: Common & { readonly personal?: boolean }, self: Command) => {
      const query = options.personal === true ? '?personal=true' : ''
      print(
        context.output(self),
        await call(context, options, 'GET', `/${encodeURIComponent(id)}${query}`, undefined),
      )
    })
  withExample(command, 'annals erasure show erasure_01kaxa2v8ve5cv9sc8ff5fs8ac --organization org_acme')
}

function registerCertificate(parent: Command, context: CliContext): void {
  const command = common(parent.command('certificate'))
    .argument('<id>', 'erasure_…')
    .description('Get the certificate of an erasure that is complete: signed JSON, or a page to hand over')
    .option('--html', 'the page; it prints well')
    .option('-o, --output <file>', 'into this file, byte for byte as it was issued (default: print it)')
    .action(async (id: string, options: CertificateOptions, self: Command) => {
      const { url, key } = apiAddress(context.loadConfig(), options)
      if (key === undefined)
        throw new AnnalsError('unauthenticated', 'No key: give --key, or set ANNALS_KEY.')
      const accept = options.html === true ? 'text/html' : 'application/json'
      const path = `/v1/organizations/${options.organization}/erasures/${encodeURIComponent(id)}/certificate`
      const send = createTransport({ url, key })
      const answer = await send({ method: 'GET', path, headers: { accept }, timeoutMs: certificateTimeoutMs })
      const bytes = Buffer.from(await answer.arrayBuffer())
      const output = context.output(self)
      const { output: file } = options
      if (file === undefined) {
        const text = bytes.toString('utf8').trimEnd()
        output.result(options.html === true ? { html: text } : JSON.parse(text), () => text)
        return
      }
      await writeFile(file, bytes)
      output.result({ file, bytes: bytes.length }, () =>
        options.html === true
          ? `${file} is written`
          : `${file} is written; check it with: annals verify ${file}`,
      )
    })
  withExample(
    command,
    'annals erasure certificate erasure_01kaxa2v8ve5cv9sc8ff5fs8ac --organization org_acme -o certificate.json',
    'annals erasure certificate erasure_01kaxa2v8ve5cv9sc8ff5fs8ac --organization org_acme --html -o certificate.html',
  )
}

interface CertificateOptions extends Common {
  readonly html?: boolean
  readonly output?: string
}

const certificateTimeoutMs = 30_000

/** Everything that is done to one request: its options, but for the common ones, are the body. */
function action(parent: Command, context: CliContext, name: string, description: string): Command {
  const command = common(parent.command(name))
    .argument('<id>', 'erasure_…')
    .description(description)
    .action(async (id: string, options: Common & Record<string, unknown>, self: Command) => {
      const { organization: _organization, url: _url, key: _key, ...body } = options
      const answer = await call(context, options, 'POST', `/${encodeURIComponent(id)}/${name}`, body)
      print(context.output(self), answer)
    })
  return withExample(
    command,
    `annals erasure ${name} erasure_01kaxa2v8ve5cv9sc8ff5fs8ac --organization org_acme${examples[name] ?? ''}`,
  )
}

const examples: Readonly<Record<string, string>> = {
  'verify-identity': ' --method "signed in and confirmed by e-mail" --result verified',
  approve: ' --exempt "billing.*=17(3)(b)"',
  deny: ' --ground "17(3)(e)" --note "claims are pending"',
  attest: ' --target siem --statement "searched: nothing"',
  extend: ' --reason "many records in three systems"',
}

function call(
  context: CliContext,
  options: Common,
  method: string,
  path: string,
  json: object | undefined,
): Promise<unknown> {
  const { url, key } = apiAddress(context.loadConfig(), options)
  if (key === undefined) throw new AnnalsError('unauthenticated', 'No key: give --key, or set ANNALS_KEY.')
  return requestJson(createTransport({ url, key }), {
    method,
    path: `/v1/organizations/${options.organization}/erasures${path}`,
    // One run of the command is one intent: a retry by the transport must not be another.
    ...(json === undefined ? {} : { json, headers: { 'idempotency-key': randomUUID() } }),
  })
}

function print(output: Output, answer: unknown): void {
  output.result(answer, () => requestText(answer))
}

/** Now, in the zone of this machine: the month is counted in the officer's own calendar. */
function localTime(at: Date): string {
  const offset = -at.getTimezoneOffset()
  const two = (value: number) => String(value).padStart(2, '0')
  const zone = `${offset < 0 ? '-' : '+'}${two(Math.floor(Math.abs(offset) / 60))}:${two(Math.abs(offset) % 60)}`
  return new Date(at.getTime() + offset * 60_000).toISOString().replace('Z', zone)
}

const collect = (value: string, before: readonly string[]): string[] => [...before, value]

function idOf(text: string, before: readonly ErasureIdentifier[]): ErasureIdentifier[] {
  const [type, ...rest] = text.split(':')
  if (type === undefined || rest.length === 0) {
    throw new InvalidArgumentError('It must be a type and an id: user:u_17.')
  }
  return [...before, { kind: 'id', type, value: rest.join(':') }]
}

function recipientOf(text: string, before: readonly { name: string; url: string }[]) {
  const at = text.indexOf('=')
  if (at < 1)
    throw new InvalidArgumentError('It must be a name and an address: crm=https://crm.example/hook.')
  return [...before, { name: text.slice(0, at), url: text.slice(at + 1) }]
}

function exemptionOf(text: string, before: readonly Exemption[]): Exemption[] {
  const at = text.lastIndexOf('=')
  const ground = exemptionGrounds.find((known) => known === text.slice(at + 1))
  if (at < 1 || ground === undefined) {
    throw new InvalidArgumentError('It must be a class and a ground of Art. 17(3): billing.*=17(3)(b).')
  }
  return [...before, { class: text.slice(0, at), ground }]
}

function countOf(text: string, before: readonly number[]): number[] {
  if (!/^\d{1,2}$/.test(text)) throw new InvalidArgumentError('It must be a position, from 0.')
  return [...before, Number(text)]
}

function organizationOf(text: string): string {
  if (!organizationIdPattern.test(text)) throw new InvalidArgumentError('1 to 64 of A-Z, a-z, 0-9, _ and -.')
  return text
}
