/**
 * Logs by allow-list. A log outlives an erasure and is read by people who may not see personal values, so
 * nothing gets into a line unless this file names its key and its value has that key's shape. Anything else is
 * dropped and counted in `droppedKeys`. Messages are constants of the source, such as `request.done`; an error
 * is logged as class, code and stack frames, never with its message (a duplicate-key error quotes values).
 */
import { pino, type DestinationStream, type Logger as PinoLogger } from 'pino'
import { errorIdentity } from './errors.js'

export const logLevels = ['trace', 'debug', 'info', 'warn', 'error'] as const
export type LogLevel = (typeof logLevels)[number]

type Check = (value: unknown) => boolean

const matches =
  (pattern: RegExp): Check =>
  (value) =>
    typeof value === 'string' && pattern.test(value)
const wholeNumber: Check = (value) => Number.isSafeInteger(value)
const finiteNumber: Check = (value) => typeof value === 'number' && Number.isFinite(value)
const yesOrNo: Check = (value) => typeof value === 'boolean'
const typeId = (prefix: string): Check => matches(new RegExp(`^${prefix}_[0-9a-z]{26}$`))
/** A word of the source: a code, a state, a name of a part. Too narrow for an address or a person's name with a space. */
const word = matches(/^[A-Za-z][A-Za-z0-9_.-]{0,63}$/)

/** The allow-list: every key a line may have, and what its value must look like. */
const fieldChecks = {
  // a request
  requestId: matches(/^[A-Za-z0-9_-]{1,64}$/),
  /** The pattern (`/v1/organizations/:org`), never the address: that one holds what the client sent. */
  route: matches(/^(\/[A-Za-z0-9_:.*{}-]*)+$|^unmatched$/),
  method: matches(/^[A-Z]{3,10}$/),
  status: wholeNumber,
  bytes: wholeNumber,
  // who and what, by ids that say nothing about a person
  organizationId: matches(/^[A-Za-z0-9_-]{1,64}$/),
  keyId: typeId('key'),
  principal: typeId('prn'),
  eventId: typeId('evt'),
  scanId: typeId('scan'),
  erasureId: typeId('erasure'),
  role: word,
  region: matches(/^[a-z0-9-]{1,32}$/),
  // numbers
  count: wholeNumber,
  pending: wholeNumber,
  limit: wholeNumber,
  attempt: wholeNumber,
  version: wholeNumber,
  durationMs: finiteNumber,
  delayMs: finiteNumber,
  // processes and servers
  component: word,
  state: word,
  code: matches(/^[A-Za-z0-9_]{1,64}$/),
  signal: matches(/^SIG[A-Z0-9]{1,10}$/),
  exitCode: wholeNumber,
  pid: wholeNumber,
  port: wholeNumber,
  ready: yesOrNo,
  droppedKeys: wholeNumber,
  // Temporal
  queue: word,
  taskQueue: word,
  namespace: matches(/^[A-Za-z0-9_-]{1,200}$/),
  workflowId: matches(/^[A-Za-z0-9_/.:-]{1,256}$/),
  workflowType: word,
  runId: matches(/^[0-9a-f-]{36}$/),
  activityType: word,
} as const satisfies Record<string, Check>

type FieldName = keyof typeof fieldChecks

/** What a line may carry. Whatever the type lets slip, the check at run time does not. */
export type LogFields = Readonly<Partial<Record<FieldName, string | number | boolean | undefined>>> & {
  /** Logged as `{name, code, frames, causes}`. */
  readonly error?: unknown
}

/** A string literal; neither `string` nor a template with a hole in it, so that no value gets into a message. */
// eslint-disable-next-line @typescript-eslint/no-generated-empty-object-type -- {} is what only an index signature takes
type Constant<Message extends string> = Record<never, never> extends Record<Message, 1> ? never : Message

export type LogMethod = <const Message extends string>(message: Constant<Message>, fields?: LogFields) => void

export interface Logger extends Readonly<Record<LogLevel, LogMethod>> {
  isEnabled(level: LogLevel): boolean
  /** A logger whose every line carries these fields. */
  child(fields: LogFields): Logger
}

const messageShape = /^[a-z][a-z0-9_]*(\.[a-z0-9_]+)+$/
const frameShape =
  /^\s*at (?:async )?(?:(?:new )?[\w$.<>[\] ]{1,100} \()?((?:file:\/\/|node:|\/)[^()\s]{1,400}:\d+:\d+)\)?$/

/**
 * The frames of a stack (at most ten, each `path:line:column` with the path's last three parts). The message
 * stands at the head of a stack and can hold anything, lines that look like frames included: it is cut off by
 * its own text, and where that text is not found there are no frames at all.
 */
function framesOf(error: Error): string[] {
  const stack = error.stack ?? ''
  const at = stack.indexOf(error.message)
  if (at < 0) return []
  return stack
    .slice(at + error.message.length)
    .split('\n')
    .flatMap((line) => frameShape.exec(line)?.[1] ?? [])
    .slice(0, 10)
    .map((place) => place.split('/').slice(-3).join('/'))
}

const safeIdentity = (error: unknown): { name: string; code?: string } => {
  const { name, code } = errorIdentity(error)
  return {
    name: fieldChecks.code(name) ? name : 'Error',
    ...(fieldChecks.code(code) && code !== undefined ? { code } : {}),
  }
}

/** An error as a line may show it: no message, of it or of its causes (at most three). */
function describeError(error: unknown): Record<string, unknown> {
  const causes: unknown[] = []
  let cause = error instanceof Error ? error.cause : undefined
  while (cause !== undefined && causes.length < 3) {
    causes.push(safeIdentity(cause))
    cause = cause instanceof Error ? cause.cause : undefined
  }
  return {
    ...safeIdentity(error),
    ...(error instanceof Error ? { frames: framesOf(error) } : {}),
    ...(causes.length > 0 ? { causes } : {}),
  }
}

const isFieldName = (name: string): name is FieldName => Object.hasOwn(fieldChecks, name)

/** Keeps what the allow-list knows and counts the rest. Never throws, whatever it is given. */
export function allowedFields(fields: unknown): Record<string, unknown> {
  const kept: Record<string, unknown> = {}
  if (fields === undefined || fields === null) return kept
  if (typeof fields !== 'object') return { droppedKeys: 1 }
  if (fields instanceof Error) return { error: describeError(fields) }
  let dropped = 0
  try {
    for (const [name, value] of Object.entries(fields)) {
      if (value === undefined) continue
      if (name === 'error' || name === 'err') kept['error'] = describeError(value)
      else if (isFieldName(name) && fieldChecks[name](value)) kept[name] = value
      else dropped += 1
    }
  } catch {
    // A getter that throws: what was read so far stands.
    dropped += 1
  }
  if (dropped > 0) kept['droppedKeys'] = dropped
  return kept
}

/** Buffered and bounded: a reader that stops reading costs lines, never memory or the event loop. */
const standardOutput = (): DestinationStream =>
  pino.destination({ dest: 1, sync: false, minLength: 0, maxLength: 4 * 1024 * 1024 })

/**
 * Makes the process's logger: one JSON object a line, to standard output unless told otherwise.
 * @param level the least severe level that is written; `silent` writes nothing
 */
export function createLogger(level: LogLevel | 'silent', destination?: DestinationStream): Logger {
  const target = pino(
    {
      level,
      base: { pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    destination ?? standardOutput(),
  )
  return wrap(target)
}

/** Writes one line, whatever it is given: the fields by the allow-list, the message by its shape. */
function writeLine(target: PinoLogger, level: LogLevel, message: string, fields: unknown): void {
  if (!target.isLevelEnabled(level)) return
  target[level](allowedFields(fields), messageShape.test(message) ? message : 'log.message_refused')
}

/** What stands behind each logger, for `foreignLogger`; a method on `Logger` would let any text in. */
const targets = new WeakMap<Logger, PinoLogger>()

function wrap(target: PinoLogger): Logger {
  const write =
    (level: LogLevel): LogMethod =>
    (message: string, fields?: LogFields) =>
      writeLine(target, level, message, fields)
  const logger: Logger = {
    trace: write('trace'),
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
    isEnabled: (level) => target.isLevelEnabled(level),
    child: (fields) => wrap(target.child(allowedFields(fields))),
  }
  targets.set(logger, target)
  return logger
}

/** The logger interface that Temporal's runtime and other libraries ask for: any message, any object. */
export interface ForeignLogger extends Readonly<
  Record<LogLevel, (message: string, fields?: Record<string | symbol, unknown>) => void>
> {
  log(level: string, message: string, fields?: Record<string | symbol, unknown>): void
}

/**
 * Takes a library's lines under the same allow-list. Its messages are texts that we did not write, so only the
 * ones listed get a name of ours; every other line is `library.other` with the fields that may pass.
 * @param messages the library's constant texts → the message each is logged as
 */
export function foreignLogger(
  logger: Logger,
  component: string,
  messages: ReadonlyMap<string, `${string}.${string}`> = new Map(),
): ForeignLogger {
  const target = targets.get(logger.child({ component }))
  const write = (level: string, message: string, fields: unknown): void => {
    if (target === undefined) return
    const known = logLevels.find((name) => name === level.toLowerCase()) ?? 'info'
    writeLine(target, known, messages.get(message) ?? 'library.other', fields)
  }
  const at =
    (level: LogLevel) =>
    (message: string, fields?: unknown): void =>
      write(level, message, fields)
  return {
    log: write,
    trace: at('trace'),
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
  }
}
