/** `annals demo`: two invented customers with a few weeks of events and a scan, and what to try with them. */
import { AnnalsClientError, createClient, type AnnalsClient } from '../../client/index.js'
import { AnnalsError } from '../../errors.js'
import { sampleOrganizations, type SampleOrganization } from '../../samples/index.js'
import { withExample, type CliContext, type RegisterCommand } from '../context.js'
import { apiAddress, withDatabase } from '../running.js'

interface Options {
  readonly url?: string
  readonly key?: string
}

interface DemoResult {
  readonly url: string
  /** The key that was made for it; null where one was given. */
  readonly madeKey: string | null
  readonly organizations: readonly {
    readonly id: string
    readonly stored: number
    readonly replayed: number
  }[]
  readonly scan: { readonly id: string; readonly workflowId: string } | null
}

export const registerDemo: RegisterCommand = (program, context) => {
  const command = program
    .command('demo')
    .description('Send a sample of two customers and a scan to a running Annals; safe to repeat')
    .option('--url <url>', 'the API (default: ANNALS_URL, or the running "annals up")')
    .option('--key <key>', 'an owner key (default: ANNALS_KEY; on this machine one is made)')
    .action(async (options: Options, self: typeof command) => {
      const config = context.loadConfig()
      const { url, key } = apiAddress(config, options)
      const organizations = sampleOrganizations()
      const madeKey = key ?? (await makeKey(context, organizations, options.url !== undefined))
      const client = createClient({ url, key: madeKey, retry: { giveUpAfterMs: 10_000 } })
      const output = context.output(self)
      const sent: DemoResult['organizations'][number][] = []
      for (const organization of organizations) sent.push(await send(client, organization))
      const scan = await runScan(client, organizations[0]?.id ?? '').catch((error: unknown) => {
        if (!(error instanceof AnnalsClientError) || error.code !== 'temporal_unavailable') throw error
        output.note('Temporal is away: there is no scan. Run the command again when it is back.')
        return null
      })
      const result = { url, madeKey: key === undefined ? madeKey : null, organizations: sent, scan }
      output.result(result, () => textOf(result))
    })
  withExample(command, 'annals demo', 'annals demo --url https://annals.example --key "$ANNALS_KEY"')
}

/** Where nobody gave one, as `annals keys create` would: at the machine, in the database. */
async function makeKey(
  context: CliContext,
  organizations: readonly SampleOrganization[],
  elsewhere: boolean,
): Promise<string> {
  if (elsewhere) throw new AnnalsError('unauthenticated', 'No key: give --key, or set ANNALS_KEY.')
  const config = withDatabase(context.loadConfig())
  const { keys, close } = await context.services.openKeys(config, context.createLogger(config, 'stderr'))
  try {
    const ids = organizations.map(({ id }) => id)
    const wanted = { role: 'owner' as const, name: 'annals demo', organizations: ids, personal: true }
    return (await keys.create(wanted, 'setup')).secret
  } finally {
    await close()
  }
}

async function send(
  client: AnnalsClient,
  { id, name, lines }: SampleOrganization,
): Promise<DemoResult['organizations'][number]> {
  try {
    await client.request('PUT', `/v1/organizations/${id}`, { body: { name } })
  } catch (error) {
    // A key that only writes makes the organization by its first event.
    if (!(error instanceof AnnalsClientError) || error.code !== 'forbidden') throw error
  }
  const events = lines.map((line, index) => ({
    text: `${line.slice(0, -1)},"idempotencyKey":"demo:${String(index)}"}`,
    tag: index + 1,
  }))
  async function* once() {
    yield await Promise.resolve(events)
  }
  const { accepted, replayed } = await client.streamLines(once(), {
    onFailure: ({ tag, problem }) => {
      throw new Error(`sample event ${String(tag)} of ${id} was refused: ${problem.code}`)
    },
  })
  return { id, stored: accepted, replayed }
}

async function runScan(client: AnnalsClient, organizationId: string): Promise<DemoResult['scan']> {
  const base = `/v1/organizations/${organizationId}/scans`
  const scan = await client.request('POST', base, {
    idempotencyKey: 'demo-scan',
    body: { engine: 'exposure-scanner', expectedWithin: 'PT1H', metadata: { target: 'brightleaf.example' } },
  })
  if (typeof scan !== 'object' || scan === null || !('id' in scan) || !('workflowId' in scan)) {
    throw new AnnalsClientError('unexpected_answer', 'The answer is no scan.')
  }
  const id = String(scan.id)
  try {
    await client.request('POST', `${base}/${id}/progress`, {
      idempotencyKey: 'demo-progress',
      body: { percent: 60, message: 'Checking certificates', counts: { checked: 249 } },
    })
    await client.request('POST', `${base}/${id}/finish`, {
      idempotencyKey: 'demo-finish',
      body: {
        outcome: 'success',
        counts: { checked: 415, open: 1 },
        findings: [
          { host: 'api.brightleaf.example', what: 'certificate ends in 9 days', severity: 'medium' },
        ],
      },
    })
  } catch (error) {
    // By an earlier run of the demo.
    if (!(error instanceof AnnalsClientError) || error.code !== 'already_finished') throw error
  }
  return { id, workflowId: String(scan.workflowId) }
}

function textOf({ url, madeKey, organizations, scan }: DemoResult): string {
  const [first, second] = organizations.map(({ id }) => `${url}/v1/organizations/${id}`)
  const authorization = '-H "Authorization: Bearer $ANNALS_KEY"'
  const sent = organizations.map(
    ({ id, stored, replayed }) =>
      `  ${id.padEnd(18)}${String(stored)} events stored${replayed > 0 ? `, ${String(replayed)} had been there` : ''}`,
  )
  const json = `-H 'Content-Type: application/json'`
  return [
    '',
    ...sent,
    ...(scan === null ? [] : [`  ${'scan'.padEnd(18)}${scan.id}, started and finished`]),
    '',
    ...(madeKey === null
      ? []
      : ['A key for these two, shown this once:', '', `  export ANNALS_KEY='${madeKey}'`, '']),
    'Who changed something about a policy?',
    '',
    `  curl -sS '${first ?? ''}/events?action=policy.*' ${authorization}`,
    '',
    'What did one person do? The address stays out of the URL, and this read is itself logged:',
    '',
    `  curl -sS ${second ?? ''}/events/search ${authorization} ${json} -d '{"actorEmail":"lena@harbourline.example"}'`,
    `  curl -sS '${second ?? ''}/events?action=annals.personal.read' ${authorization}`,
    '',
    ...(scan === null
      ? []
      : [
          'The scan, and its events:',
          '',
          `  curl -sS ${first ?? ''}/scans/${scan.id} ${authorization}`,
          `  curl -sS '${first ?? ''}/events?targetType=scan&targetId=${scan.id}' ${authorization}`,
          '',
        ]),
    'Import a file of your own, and verify everything:',
    '',
    '  npx annals import history.ndjson --organization org_brightleaf',
    `  npx annals verify ${url}`,
  ].join('\n')
}
