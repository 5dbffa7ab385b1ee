/** `annals doctor`: for the operator at the machine; see operations/doctor.ts. */
import type { Command } from 'commander'
import { AnnalsError } from '../../errors.js'
import { withExample, type RegisterCommand } from '../context.js'
import { table } from '../output.js'
import { withDatabase } from '../running.js'

export const registerDoctor: RegisterCommand = (program, context) => {
  const command = program
    .command('doctor')
    .description('Check that everything this deployment needs is there, writable and apart')
    .action(async (_options: unknown, self: Command) => {
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
  withExample(command, 'annals doctor', 'annals doctor --json')

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
