/**
 * `annals log restart`: for the operator at the machine, after a database was restored that is behind what was
 * published. It goes to the database, not over HTTP: sealing stands still while it is needed.
 */
import type { Command } from 'commander'
import { AnnalsError } from '../../errors.js'
import { organizationIdPattern } from '../../organizations/contract.js'
import type { AnchorRestartPlan } from '../../transparency-log/anchor/restart-anchor.js'
import type { RestartPlan } from '../../transparency-log/checkpoint-copies/restart.js'
import { withExample, type CliContext, type LogAdministration, type RegisterCommand } from '../context.js'
import { withDatabase } from '../running.js'

interface Options {
  readonly organization?: string
  readonly anchor?: boolean
  readonly yes?: boolean
}

export const registerLog: RegisterCommand = (program, context) => {
  const log = program.command('log').description('Look after the transparency logs, in the database')
  const command = log
    .command('restart')
    .description('Open a new generation of a log that is behind what was published')
    .option('--organization <id>', 'whose log')
    .option('--anchor', 'the anchor log of the deployment')
    .option('--yes', 'do it; without this, only say what would be done')
    .action(async (options: Options, self: Command) => {
      const { organization, anchor } = options
      if ((organization === undefined) === (anchor !== true)) {
        throw new AnnalsError('malformed', 'Give either --organization or --anchor.')
      }
      if (organization !== undefined && !organizationIdPattern.test(organization)) {
        throw new AnnalsError('malformed', 'This is no organization id.')
      }
      const restarted = options.yes === true
      const done = await withLog<RestartPlan | AnchorRestartPlan>(context, ({ restarter, anchoring }) => {
        const act = restarted ? 'restart' : 'plan'
        return organization === undefined ? anchoring.restarter[act]() : restarter[act](organization)
      })
      const result = {
        ...(organization === undefined ? { log: 'anchor' } : { organizationId: organization }),
        restarted,
        reason: done.reason,
        published: treeOf(done.published),
        kept: treeOf(done.kept),
        generation: done.generation,
      }
      context.output(self).result(result, () => describe(result))
    })
  withExample(
    command,
    'annals log restart --organization org_acme',
    'annals log restart --organization org_acme --yes',
  )
  withExample(log, 'annals log restart --organization org_acme --yes')
}

async function withLog<T>(context: CliContext, use: (log: LogAdministration) => Promise<T>): Promise<T> {
  const config = withDatabase(context.loadConfig())
  const log = await context.services.openLog(config, context.createLogger(config, 'stderr'))
  try {
    return await use(log)
  } catch (error) {
    if (!(error instanceof AnnalsError) || error.code !== 'not_found') throw error
    throw new AnnalsError('not_found', 'There is no such organization.')
  } finally {
    await log.close()
  }
}

interface Tree {
  readonly generation: number
  readonly size: number
  readonly rootHash: string
}

const treeOf = (
  tree: { readonly generation: number; readonly size: number; readonly root: Uint8Array } | undefined,
): Tree | null =>
  tree === undefined
    ? null
    : { generation: tree.generation, size: tree.size, rootHash: Buffer.from(tree.root).toString('base64') }

function describe(result: {
  readonly restarted: boolean
  readonly reason: string
  readonly published: Tree | null
  readonly kept: Tree | null
  readonly generation: number
}): string {
  const line = (name: string, tree: Tree | null) =>
    `${name}: ${tree === null ? 'nothing' : `generation ${String(tree.generation)}, ${String(tree.size)} leaves, root ${tree.rootHash}`}`
  return [
    `The log is ${result.reason} compared with what was published.`,
    line('published', result.published),
    line('the database has', result.kept),
    result.restarted
      ? `Generation ${String(result.generation)} has begun; the one before is closed and stays readable.`
      : `With --yes, generation ${String(result.generation)} begins, and the log names in its first leaf what was lost. Nothing was changed.`,
  ].join('\n')
}
