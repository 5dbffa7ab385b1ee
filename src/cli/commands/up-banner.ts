/** What `annals up` prints once everything runs. */

export interface UpReport {
  readonly apiUrl: string
  readonly temporalUiUrl: string | undefined
  readonly dataDirectory: string
  /** The first administrator key, on the first start only. */
  readonly firstKey: string | undefined
}

/** One object for `--json`. */
export function reportAsJson(report: UpReport): Readonly<Record<string, string | null>> {
  return {
    api: report.apiUrl,
    docs: `${report.apiUrl}/docs`,
    openapi: `${report.apiUrl}/openapi.json`,
    temporalUi: report.temporalUiUrl ?? null,
    dataDirectory: report.dataDirectory,
    firstKey: report.firstKey ?? null,
  }
}

export function reportAsText(report: UpReport, now: Date): string {
  const rows = [
    ['API', report.apiUrl],
    ['Documentation', `${report.apiUrl}/docs`],
    ['OpenAPI', `${report.apiUrl}/openapi.json`],
    ...(report.temporalUiUrl === undefined ? [] : [['Temporal UI', report.temporalUiUrl]]),
    ['Data', report.dataDirectory],
  ]
  const table = rows.map(([name = '', value = '']) => `  ${name.padEnd(15)}${value}`)
  return [
    '',
    'Annals is running.',
    '',
    ...table,
    '',
    ...keyLines(report.firstKey),
    'Post an event, and read it back:',
    '',
    ...curlLines(report.apiUrl, report.firstKey ?? '$ANNALS_KEY', now),
    '',
    'Ctrl-C stops everything; the data stays.',
  ].join('\n')
}

function keyLines(firstKey: string | undefined): string[] {
  if (firstKey === undefined) {
    return [
      'The first key was shown at the first start; export it as ANNALS_KEY. Is it lost? Make another:',
      '',
      '  npx annals keys create --role owner --name administrator --personal',
      '',
    ]
  }
  return [
    'The first administrator key, shown this once (only its hash is stored), so keep it now:',
    '',
    `  export ANNALS_KEY='${firstKey}'`,
    '',
  ]
}

/** Two lines that a shell takes as they are: no line breaks inside, the key in double quotes for `$ANNALS_KEY`. */
export function curlLines(apiUrl: string, key: string, now: Date): [string, string] {
  const event = {
    organizationId: 'org_demo',
    action: 'team.member.invited',
    occurredAt: now.toISOString(),
    actor: { type: 'user', id: 'u_17', name: 'Jane Doe', email: 'jane@demo.example' },
    targets: [{ type: 'team', id: 't_9', name: 'Platform' }],
    metadata: { plan: 'pro' },
  }
  const authorization = `-H "Authorization: Bearer ${key}"`
  return [
    `  curl -sS ${apiUrl}/v1/events ${authorization} -H 'Content-Type: application/json' -d '${JSON.stringify(event)}'`,
    `  curl -sS ${apiUrl}/v1/organizations/org_demo/events ${authorization}`,
  ]
}
