import { describe, expect, it } from 'vitest'
import { createLogger, foreignLogger, type LogFields } from '../../../src/logging.js'

const personal = ['jane@acme.example', 'Jane Doe', '203.0.113.7', 'u_17']

/** A logger and what it has written. */
function captured(level: 'trace' | 'info' | 'silent' = 'trace') {
  const lines: string[] = []
  const logger = createLogger(level, { write: (line) => void lines.push(line) })
  const parsed = () => lines.map((line): unknown => JSON.parse(line))
  return { logger, lines, parsed }
}

/** An object of no known type, as a library or a cast hands it over. */
const rubbish = (value: object): LogFields => value

describe('the log', () => {
  it('writes known keys whose values have the right shape', () => {
    const { logger, parsed } = captured()
    const fields = { requestId: 'req-1', route: '/v1/organizations/:org', status: 200, durationMs: 1.5 }
    logger.info('request.done', { ...fields, method: 'GET' })
    expect(parsed()[0]).toMatchObject({ ...fields, level: 'info', msg: 'request.done', method: 'GET' })
  })

  it('drops and counts unknown keys, and known keys with values of another shape', () => {
    const { logger, lines, parsed } = captured()
    logger.warn(
      'test.rubbish',
      rubbish({
        email: personal[0],
        body: { actor: { name: personal[1] } },
        ip: personal[2],
        route: `/v1/people/${personal[0]}?q=${personal[1]}`,
        organizationId: personal[0],
        requestId: 'x'.repeat(65),
        code: { toString: () => personal[0] },
        status: '200 for Jane Doe',
        durationMs: Number.NaN,
        list: personal,
        __proto__: null,
      }),
    )
    expect(parsed()[0]).toMatchObject({ droppedKeys: 10 })
    for (const value of personal) expect(lines.join('')).not.toContain(value)
  })

  it('logs an error as class, code, frames and causes, and never its message', () => {
    const { logger, lines, parsed } = captured()
    const cause = Object.assign(new Error(`E11000 dup key: { email: "${personal[0]}" }`), { code: 11000 })
    const error = new TypeError(`no\n    at ${personal[1]} (file:///${personal[0]}:1:1)`, { cause })
    logger.error('test.failed', { error })
    expect(parsed()[0]).toMatchObject({
      error: { name: 'TypeError', causes: [{ name: 'Error', code: '11000' }] },
    })
    expect(lines.join('')).toContain('logging.test.ts:')
    for (const value of personal) expect(lines.join('')).not.toContain(value)
  })

  it('gives no frames where the message was changed after the stack was taken', () => {
    const { logger, lines } = captured()
    const error = new Error(`x\n    at f (/home/${personal[0]}:1:1)`)
    error.message = 'another'
    error.name = `Error of ${personal[1] ?? ''}`
    logger.error('test.failed', { error })
    for (const value of personal) expect(lines.join('')).not.toContain(value)
  })

  it('survives thrown strings, getters that throw and cyclic objects', () => {
    const { logger, lines } = captured()
    const cyclic: Record<string, unknown> = { count: 1 }
    cyclic['self'] = cyclic
    logger.info('test.cyclic', rubbish(cyclic))
    logger.info('test.thrown', { error: personal[0] })
    logger.info(
      'test.getter',
      rubbish({
        get count(): number {
          throw new Error(personal[0])
        },
      }),
    )
    expect(lines).toHaveLength(3)
    for (const value of personal) expect(lines.join('')).not.toContain(value)
  })

  it('takes constants only as messages', () => {
    const { logger, parsed } = captured()
    const text: string = personal[1] ?? ''
    // @ts-expect-error a string that is no literal
    logger.info(text)
    // @ts-expect-error a template with a hole
    logger.info(`login.${text}`)
    expect(parsed()).toMatchObject([{ msg: 'log.message_refused' }, { msg: 'log.message_refused' }])
  })

  it('holds the fields of a child to the same list', () => {
    const { logger, lines, parsed } = captured()
    logger.child(rubbish({ component: 'sealer', email: personal[0] })).info('test.child', { count: 2 })
    expect(parsed()[0]).toMatchObject({ component: 'sealer', count: 2, droppedKeys: 1 })
    expect(lines.join('')).not.toContain(personal[0])
  })

  it('writes nothing below its level', () => {
    const { logger, lines } = captured('info')
    logger.debug('test.debug')
    expect(logger.isEnabled('debug')).toBe(false)
    captured('silent').logger.error('test.error')
    expect(lines).toHaveLength(0)
  })
})

describe('a library that logs through ours', () => {
  it('gets the messages we know, and "library.other" for every text we do not', () => {
    const { logger, lines, parsed } = captured()
    const foreign = foreignLogger(logger, 'temporal', new Map([['Worker state changed', 'worker.state']]))
    foreign.info('Worker state changed', { state: 'RUNNING', [Symbol('x')]: personal[0] })
    foreign.log('WARN', `Failed for ${personal[0] ?? ''}`, {
      error: new Error(personal[1]),
      workflowId: 'scan/a/b',
    })
    expect(parsed()).toMatchObject([
      { msg: 'worker.state', component: 'temporal', state: 'RUNNING' },
      { msg: 'library.other', level: 'warn', workflowId: 'scan/a/b' },
    ])
    for (const value of personal) expect(lines.join('')).not.toContain(value)
  })
})
