/** `annals archive list|restore|runs|retry`: what is archived of an organization, and bringing a stretch of it back. */
import { InvalidArgumentError, type Command } from 'commander'
import type { RestoreView } from '../../archive/restores/schema.js'
import type { SegmentView } from '../../archive/segment-schema.js'
import { newId } from '../../ids.js'
import { withExample, type CliContext, type RegisterCommand } from '../context.js'
import { table } from '../output.js'
import { addressed, listAll, read, sendTo, type Address } from './archive-calls.js'
import { registerRetry, registerRuns } from './archive-runs.js'

interface RestoreOptions extends Address {
  readonly from: string
  readonly to: string
  readonly days: number
  readonly reason: string
  readonly idempotencyKey?: string
  readonly wait?: boolean
}

/** Segments that are listed: the newest. */
const maxListed = 10_000
const pollMs = 1_000

export const registerArchive: RegisterCommand = (program, context) => {
  const archive = program
    .command('archive')
    .description('List what is archived and what moved it, and bring a stretch of it back')
  registerList(archive, context)
  registerRestore(archive, context)
  registerRuns(archive, context)
  registerRetry(archive, context)
  withExample(archive, 'annals archive list org_acme')
}

function registerList(archive: Command, context: CliContext): void {
  const command = addressed(archive.command('list'))
    .argument('<organization>')
    .description(`List segments, newest leaves first (${String(maxListed)} at most)`)
    .action(async (organization: string, options: Address, self: Command) => {
      const send = sendTo(context, options)
      const found = await listAll<SegmentView>(send, `${pathOf(organization)}/segments`, maxListed)
      context.output(self).result({ data: found }, () => table(heads, found.map(row)))
    })
  withExample(command, 'annals archive list org_acme --json')
}

function registerRestore(archive: Command, context: CliContext): void {
  const command = addressed(archive.command('restore'))
    .argument('<organization>')
    .description('Bring events back for some days, to be searched under source=restored')
    .requiredOption('--from <time>', 'RFC 3339 with zone, inclusive, by occurredAt')
    .requiredOption('--to <time>', 'RFC 3339 with zone, exclusive')
    .requiredOption('--days <days>', 'how long they stay', wholeNumber)
    .requiredOption('--reason <text>', 'why; it should name no person')
    .option('--idempotency-key <key>', 'a repeat under the same key changes nothing')
    .option('--no-wait', 'do not wait until all of it is there')
    .action(async (organization: string, options: RestoreOptions, self: Command) => {
      const send = sendTo(context, options)
      const output = context.output(self)
      const { from, to, days, reason, wait } = options
      const restores = `${pathOf(organization)}/restores`
      let restore = await read<RestoreView>(
        send({
          method: 'POST',
          path: restores,
          headers: {
            'content-type': 'application/json',
            'idempotency-key': options.idempotencyKey ?? newId('restore'),
          },
          body: JSON.stringify({ from, to, days, reason }),
        }),
      )
      output.note(`${restore.id} is ${restore.state}`)
      for (let told = 0; wait !== false && restore.state === 'copying';) {
        await new Promise((resolve) => setTimeout(resolve, pollMs))
        restore = await read<RestoreView>(send({ method: 'GET', path: `${restores}/${restore.id}` }))
        const { leaves } = restore.counts
        if (leaves > told) output.note(`${leaves.toLocaleString('en')} leaves read`)
        told = leaves
      }
      output.result(restore, () => textOf(restore))
      if (restore.state === 'failed') throw new Error(`The restore failed: ${restore.failure ?? 'internal'}.`)
    })
  withExample(
    command,
    'annals archive restore org_acme --from 2025-01-01T00:00:00Z --to 2025-02-01T00:00:00Z --days 7 --reason "case 7"',
  )
}

const pathOf = (organization: string) => `/v1/organizations/${encodeURIComponent(organization)}/archive`

function wholeNumber(text: string): number {
  if (!/^\d{1,4}$/.test(text)) throw new InvalidArgumentError('It must be a whole number.')
  return Number(text)
}

const heads = ['LEAVES', 'EVENTS FROM', 'TO', 'CONTENT', 'REVISION', 'RECORDS', 'BYTES', 'ARCHIVED']

const row = ({ generation, from, to, content, records, ...segment }: SegmentView): string[] => [
  `${String(generation)}.${String(from)}-${String(to)}`,
  segment.occurredFrom,
  segment.occurredTo,
  content?.state ?? 'expired',
  content === null ? '' : String(content.revision),
  records === null ? 'expired' : 'kept',
  segment.archivedBytes.toLocaleString('en'),
  segment.archivedAt,
]

function textOf({ id, state, counts, expiresAt }: RestoreView): string {
  if (state !== 'restored') return `${id} is ${state}.`
  return `${id}: ${counts.events.toLocaleString('en')} events under source=restored until ${expiresAt ?? ''}.`
}
