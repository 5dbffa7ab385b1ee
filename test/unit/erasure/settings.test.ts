import { resolve } from 'node:path'
import { expect, test } from 'vitest'
import { ConfigError, loadConfig } from '../../../src/config.js'

test('log files, log systems elsewhere and the second reader’s credentials are nobody’s unless said', () => {
  expect(loadConfig({})).toMatchObject({ logPaths: [], logsElsewhere: [], archiveReaderProfile: undefined })
  expect(loadConfig({}).mongodb.readerUri).toBeUndefined()
  const said = loadConfig({
    ANNALS_LOG_PATHS: '/var/log/proxy, logs/app.log',
    ANNALS_LOGS_ELSEWHERE: 'siem, cloud-logs',
    ANNALS_MONGODB_READER_URI: 'mongodb://reader@db.example/?replicaSet=rs',
    ANNALS_ARCHIVE_READER_PROFILE: 'annals-reader',
  })
  expect(said).toMatchObject({
    logPaths: ['/var/log/proxy', resolve('logs/app.log')],
    logsElsewhere: ['siem', 'cloud-logs'],
    archiveReaderProfile: 'annals-reader',
    mongodb: { readerUri: 'mongodb://reader@db.example/?replicaSet=rs' },
  })
})

test.each([
  ['ANNALS_LOG_PATHS', '/var/log/a,,/var/log/b'],
  ['ANNALS_LOG_PATHS', Array.from({ length: 101 }, (_, at) => `/var/log/${String(at)}`).join(',')],
  ['ANNALS_LOGS_ELSEWHERE', 'SIEM'],
  ['ANNALS_LOGS_ELSEWHERE', 'siem,siem'],
  ['ANNALS_LOGS_ELSEWHERE', 'jane@acme.example'],
  ['ANNALS_MONGODB_READER_URI', 'http://db.example'],
  ['ANNALS_ARCHIVE_READER_PROFILE', 'a profile'],
])('%s of another form stops the start by its name', (variable, value) => {
  const start = () => loadConfig({ [variable]: value })
  expect(start).toThrow(ConfigError)
  expect(start).toThrow(variable)
})
