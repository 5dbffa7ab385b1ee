/** What the log files of a deployment hold of a person, and what an officer has to say of those that lie elsewhere. */
import { appendFile, mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { realSteps, startErasureWorkers } from '../support/erasure-workers.js'
import { drainUntilSealed } from '../support/sealing.js'
import { eventually, openErasureWorld, organizationId } from './erasures-world.js'

const world = await openErasureWorld({ environment: { ANNALS_LOGS_ELSEWHERE: 'siem' } })
afterAll(() => world.close())
const { core } = world.api
const workers = await startErasureWorkers(world, { steps: realSteps(core, world.temporal) })
afterAll(() => workers.stop())

const person = { type: 'user', id: 'u_8823-logged', name: 'Lola Logged', email: 'lola.logged@acme.example' }
const logs = join(world.config.dataDirectory, 'logs')

const stopsAgain = async (id: string, from: string) => {
  await world.post(`/${id}/retry`, {}, { key: world.keys.operator })
  return eventually(
    () => world.show(id),
    ({ state, needsOperator }) =>
      state === 'awaiting_expiry' || (state === 'needs_operator' && needsOperator?.reason !== from),
  )
}

test('a line with the person’s e-mail blocks completion with the file and the line, until it is taken out', async () => {
  const event = {
    organizationId,
    action: 'document.opened',
    occurredAt: new Date().toISOString(),
    actor: person,
    targets: [],
  }
  expect((await world.request('POST', '/v1/events', { body: event })).status).toBe(201)
  await drainUntilSealed(core, organizationId)
  await mkdir(logs, { recursive: true })
  await writeFile(join(logs, 'serve.log.1'), '{"msg":"request.done"}\n')
  await writeFile(join(logs, 'serve.log'), '{"msg":"request.done"}\n')
  const id = await world.toReview({ identifiers: [{ kind: 'id', type: 'user', value: person.id }] })
  const scope = JSON.stringify((await world.show(id))['scope'])
  expect(scope).toContain('{"target":"log_files","status":"counted","items":0,"held":0}')
  expect(scope).toContain('{"target":"siem","status":"elsewhere","items":0,"held":0}')
  await world.post(`/${id}/approve`, {}, { key: world.keys.second })

  // Logs elsewhere come first: nobody has said anything of them.
  const missing = await eventually(
    () => world.show(id),
    ({ state }) => state === 'needs_operator',
  )
  expect(missing.needsOperator).toMatchObject({
    reason: 'attestation_missing',
    targets: ['siem'],
    resumesAt: 'verifying',
  })
  const said = { target: 'siem', statement: 'searched for the id and the e-mail: nothing' }
  expect((await world.post(`/${id}/attest`, said)).status).toBe(200)

  // The directory knows the e-mail, which the request did not name.
  await appendFile(join(logs, 'serve.log'), `one\n{"msg":"x","to":"${person.email}"}\ntwo\n`)
  await rename(join(logs, 'serve.log'), join(logs, 'serve.log.1'))
  await writeFile(join(logs, 'serve.log'), `{"url":"/?q=${encodeURIComponent(person.email)}"}\n`)
  const left = await stopsAgain(id, 'attestation_missing')
  expect(left.needsOperator).toMatchObject({
    reason: 'residue_found',
    targets: ['log_files', 'log_files/serve.log.1:3', 'log_files/serve.log:1'],
  })
  expect(JSON.stringify(left)).not.toContain('lola')

  await rm(join(logs, 'serve.log.1'))
  await writeFile(join(logs, 'serve.log'), '')
  expect((await stopsAgain(id, 'residue_found')).state).toBe('awaiting_expiry')
  const { reading, removed } = await core.erasing.deps.progress.read({ organizationId, requestId: id })
  expect(reading?.places).toContainEqual({ kind: 'log_files', name: 'log_files', read: 1 })
  expect(removed?.['log_files']).toMatchObject({ items: 0 })
})
