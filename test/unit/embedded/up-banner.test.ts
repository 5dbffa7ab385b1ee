import { execFileSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { curlLines, reportAsJson, reportAsText } from '../../../src/cli/commands/up-banner.js'

const report = {
  apiUrl: 'http://127.0.0.1:4100',
  temporalUiUrl: 'http://127.0.0.1:8233',
  dataDirectory: '/srv/.annals',
  firstKey: 'annals_secret',
}

/** What a shell makes of the line, with `curl` replaced by a program that prints its arguments. */
function shellArguments(line: string): string[] {
  const script = `curl() { printf '%s\\n' "$@"; }\nANNALS_KEY=from-the-environment\n${line}`
  return execFileSync('sh', ['-c', script], { encoding: 'utf8' }).trimEnd().split('\n')
}

test('the first start shows the key once more in lines that a shell takes as they are', () => {
  const [post, read] = curlLines(report.apiUrl, report.firstKey, new Date('2026-11-25T10:00:00Z'))
  const posted = shellArguments(post)
  expect(posted).toContain('Authorization: Bearer annals_secret')
  expect(JSON.parse(posted.at(-1) ?? '')).toMatchObject({
    organizationId: 'org_demo',
    occurredAt: '2026-11-25T10:00:00.000Z',
  })
  expect(shellArguments(read)).toContain('http://127.0.0.1:4100/v1/organizations/org_demo/events')
  const text = reportAsText(report, new Date())
  expect(text).toContain("export ANNALS_KEY='annals_secret'")
  expect(text).toContain('/docs')
})

test('later starts take the key from the environment', () => {
  const text = reportAsText({ ...report, firstKey: undefined }, new Date())
  const line = text.split('\n').find((one) => one.includes('curl')) ?? ''
  expect(shellArguments(line)).toContain('Authorization: Bearer from-the-environment')
  expect(text).toContain('annals keys create')
})

test('the JSON form has every address and the key, or null', () => {
  expect(reportAsJson({ ...report, firstKey: undefined, temporalUiUrl: undefined })).toEqual({
    api: 'http://127.0.0.1:4100',
    docs: 'http://127.0.0.1:4100/docs',
    openapi: 'http://127.0.0.1:4100/openapi.json',
    temporalUi: null,
    dataDirectory: '/srv/.annals',
    firstKey: null,
  })
})
