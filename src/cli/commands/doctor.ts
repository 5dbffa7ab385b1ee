/** `annals doctor`: for the operator at the machine; see operations/doctor.ts. */
import type { Command } from 'commander'
import { AnnalsError } from '../../errors.js'
import { withExample, type RegisterCommand } from '../context.js'
import { table } from '../output.js'
import { withDatabase } from '../running.js'

interface Options {
  readonly applyErasures?: boolean
}

export const registerDoctor: RegisterCommand = (program, context) => {
  const command = program
    .command('doctor')
    .description('Check that everything this deployment needs is there, writable and apart')
    .option(
      '--apply-erasures',
      'first apply what was erased since the backup that the database was restored from',
    )
    .action(async ({ applyErasures = false }: Options, self: Command) => {
      if (applyErasures) {
        const { applyErasures: apply } = await import('../../operations/apply-erasures.js')
        const config = withDatabase(context.loadConfig())
        const { entries, subjects, fields } = await apply(config, context.createLogger(config, 'stderr'))
        context
          .output(self)
          .note(
            `applied ${String(entries)} entries of the ledger: ${String(subjects)} persons, ${String(fields)} fields`,
          )
      }
      // Loaded here: --help needs neither Temporal's client nor the S3 SDK.
      const { diagnose } = await import('../../operations/doctor.js')
      const findings = await diagnose(databaseIfAny())
      context.output(self).result({ findings }, () =>
        table(
          ['state', 'check', 'detail'],
          findings.map(({ state, check, detail }) => [state, check, detail]),
        ),
      )
      const count = (state: string) => findings.filter((finding) => finding.state === state).length
      if (count('unreachable') > 0)
        throw new AnnalsError('unavailable', `Not reached: ${String(count('unreachable'))}.`)
      if (count('failed') > 0) throw new Error(`Failed: ${String(count('failed'))}.`)
    })
  withExample(command, 'annals doctor', 'annals doctor --json', 'annals doctor --apply-erasures')

  /** Without a database there is still the rest to look at. */
  function databaseIfAny() {
    const config = context.loadConfig()
    try {
      return withDatabase(config)
    } catch (error) {
      if (error instanceof AnnalsError && error.code === 'unavailable') return config
      throw error
    }
  }
}
