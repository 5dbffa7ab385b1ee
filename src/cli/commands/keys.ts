/**
 * `annals keys create|list|revoke|rotate`: for the operator at the machine. It goes to the database, not over
 * HTTP: who may read the database's address needs no key to make one, and may have lost the last one.
 */
import { InvalidArgumentError, type Command } from 'commander'
import { defaultGraceSeconds, newAccessKeySchema, rotationSchema } from '../../access/schema.js'
import { roles } from '../../access/contract.js'
import type { AccessKeyService } from '../../access/service.js'
import type { AccessKey } from '../../access/store.js'
import { AnnalsError } from '../../errors.js'
import { parseInput } from '../../http/validate.js'
import { withExample, type CliContext, type RegisterCommand } from '../context.js'
import { table } from '../output.js'
import { withDatabase } from '../running.js'

const maxListed = 1_000

interface CreateOptions {
  readonly role: string
  readonly name: string
  readonly principal?: string
  readonly organizations?: string[]
  readonly personal?: boolean
  readonly eventsPerMinute?: number
  readonly expiresAt?: string
}

export const registerKeys: RegisterCommand = (program, context) => {
  const keys = program
    .command('keys')
    .description('Make, list, revoke and rotate access keys, in the database')
  registerCreate(keys, context)
  registerList(keys, context)
  registerRevoke(keys, context)
  registerRotate(keys, context)
  withExample(keys, 'annals keys create --role ingest --name backend')
}

function registerCreate(keys: Command, context: CliContext): void {
  const command = keys
    .command('create')
    .description('Make a key; its secret is printed once')
    .requiredOption('--role <role>', `one of ${roles.join(', ')}`)
    .requiredOption('--name <name>', 'what it is for')
    .option('--principal <prn_…>', 'the person or service behind it; needed for officers')
    .option('--organizations <ids>', 'bind it to these, separated by commas (default: all)', listOf)
    .option('--personal', 'let it see personal values')
    .option('--events-per-minute <n>', 'post at most this many events a minute (default: no limit)', Number)
    .option('--expires-at <time>', 'RFC 3339 with zone')
    .action(async (options: CreateOptions, self: Command) => {
      const wanted = parseInput(newAccessKeySchema, { ...options })
      const { key, secret } = await withKeys(context, (service) => service.create(wanted, 'setup'))
      context
        .output(self)
        .result({ ...key, secret }, () => `${describe(key)}\n\n  ${secret}\n\nIt is not shown again.`)
    })
  withExample(command, 'annals keys create --role ingest --name backend --organizations org_acme')
}

function registerList(keys: Command, context: CliContext): void {
  const command = keys
    .command('list')
    .description(`List keys, newest first (${maxListed} at most)`)
    .action(async (_options: unknown, self: Command) => {
      const found = await withKeys(context, (service) => service.list('setup', maxListed))
      context.output(self).result({ data: found }, () => table(heads, found.map(row)))
    })
  withExample(command, 'annals keys list --json')
}

function registerRevoke(keys: Command, context: CliContext): void {
  const command = keys
    .command('revoke')
    .argument('<id>', 'key_…')
    .description('Revoke a key; servers that run refuse it within 5 seconds')
    .action(async (id: string, _options: unknown, self: Command) => {
      await withKeys(context, (service) => service.revoke(id, 'setup'))
      context.output(self).result({ id, revoked: true }, () => `${id} is revoked.`)
    })
  withExample(command, 'annals keys revoke key_01jd2zq8w9e5cs0v1m6k3n7p4r')
}

function registerRotate(keys: Command, context: CliContext): void {
  const command = keys
    .command('rotate')
    .argument('<id>', 'key_…')
    .option(
      '--grace-seconds <seconds>',
      'how long the old secret still works',
      wholeNumber,
      defaultGraceSeconds,
    )
    .description('Give a key a new secret, printed once')
    .action(async (id: string, options: unknown, self: Command) => {
      const { graceSeconds } = parseInput(rotationSchema, options)
      const { key, secret } = await withKeys(context, (service) => service.rotate(id, graceSeconds, 'setup'))
      context
        .output(self)
        .result({ ...key, secret }, () => `${describe(key)}\n\n  ${secret}\n\nIt is not shown again.`)
    })
  withExample(command, 'annals keys rotate key_01jd2zq8w9e5cs0v1m6k3n7p4r --grace-seconds 3600')
}

async function withKeys<T>(context: CliContext, use: (service: AccessKeyService) => Promise<T>): Promise<T> {
  const config = withDatabase(context.loadConfig())
  const { keys, close } = await context.services.openKeys(config, context.createLogger(config, 'stderr'))
  try {
    return await use(keys)
  } catch (error) {
    if (!(error instanceof AnnalsError) || error.code !== 'not_found') throw error
    throw new AnnalsError('not_found', 'There is no key with this id.')
  } finally {
    await close()
  }
}

const listOf = (text: string): string[] => text.split(',').map((part) => part.trim())

function wholeNumber(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('It must be a whole number.')
  return Number(text)
}

const heads = ['ID', 'ROLE', 'NAME', 'PRINCIPAL', 'ORGANIZATIONS', 'PERSONAL', 'STATE', 'LAST USED']

const row = (key: AccessKey): string[] => [
  key.id,
  key.role,
  key.name,
  key.principal,
  key.organizations === 'all' ? 'all' : key.organizations.join(','),
  key.personal ? 'yes' : 'no',
  stateOf(key),
  key.lastUsedAt?.toISOString() ?? 'never',
]

function stateOf({ revokedAt, expiresAt }: AccessKey): string {
  if (revokedAt !== null) return 'revoked'
  return expiresAt !== null && expiresAt.getTime() <= Date.now() ? 'expired' : 'active'
}

const describe = (key: AccessKey): string =>
  `${key.id}: ${key.role}, ${key.organizations === 'all' ? 'every organization' : key.organizations.join(', ')}${
    key.personal ? ', sees personal values' : ''
  }, principal ${key.principal}`
