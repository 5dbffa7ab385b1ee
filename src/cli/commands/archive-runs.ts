/** `annals archive runs|retry`: what retention did with an organization's events, and taking up what stands still. */
import { InvalidArgumentError, type Command } from 'commander'
import type { z } from 'zod'
import { runStates, type RetryStarted } from '../../retention/contract.js'
import type { runViewSchema } from '../../retention/schema.js'
import { withExample, type CliContext } from '../context.js'
import { table } from '../output.js'
import { addressed, listAll, read, sendTo, type Address } from './archive-calls.js'

type RunView = z.infer<typeof runViewSchema>

/** Runs that are listed: the newest. */
const maxListed = 1_000

export function registerRuns(archive: Command, context: CliContext): void {
  const command = addressed(archive.command('runs'))
    .argument('<organization>')
    .description(`List what was archived, expired and restored, newest first (${String(maxListed)} at most)`)
    .option('--state <state>', runStates.join(', '), stateOf)
    .action(async (organization: string, options: Address & { state?: string }, self: Command) => {
      const query = options.state === undefined ? '' : `state=${options.state}`
      const found = await listAll<RunView>(sendTo(context, options), pathOf(organization), maxListed, query)
      context.output(self).result({ data: found }, () => table(heads, found.map(row)))
    })
  withExample(command, 'annals archive runs org_acme --state needs_operator')
}

export function registerRetry(archive: Command, context: CliContext): void {
  const command = addressed(archive.command('retry'))
    .argument('<organization>')
    .argument('<run>', 'its id, as "annals archive runs" lists it')
    .description('Take up a run that needs an operator, after seeing to what stopped it (an operator’s key)')
    .action(async (organization: string, run: string, options: Address, self: Command) => {
      const path = `${pathOf(organization)}/${encodeURIComponent(run)}/retry`
      const answer = await read<RetryStarted>(sendTo(context, options)({ method: 'POST', path }))
      context.output(self).result(answer, () => `${answer.workflowId} is ${answer.state}, at ${answer.step}.`)
    })
  withExample(command, 'annals archive retry org_acme run_01h455vb4pex5vsknk084sn02q')
}

const pathOf = (organization: string) =>
  `/v1/organizations/${encodeURIComponent(organization)}/retention/runs`

function stateOf(text: string): string {
  if (!runStates.some((state) => state === text))
    throw new InvalidArgumentError(`It is one of ${runStates.join(', ')}.`)
  return text
}

const heads = ['RUN', 'KIND', 'LEAVES', 'STATE', 'STEP', 'REASON', 'ARCHIVED BYTES', 'UPDATED']

const row = ({
  id,
  kind,
  generation,
  from,
  to,
  state,
  step,
  progress,
  reason,
  ...run
}: RunView): string[] => [
  id,
  kind,
  generation === null ? '' : `${String(generation)}.${String(from)}-${String(to)}`,
  state,
  progress === null ? step : `${step} ${share(progress)}`,
  reason ?? '',
  run.bytes.archived?.toLocaleString('en') ?? '',
  run.updatedAt,
]

const share = ({ done, total }: NonNullable<RunView['progress']>): string =>
  total === null ? String(done) : `${String(Math.floor((100 * done) / Math.max(1, total)))} %`
