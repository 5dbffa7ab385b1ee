/**
 * An open loop: requests leave on a clock, whether or not the last ones were answered, as the requests of a crowd do.
 * Sockets are opened as needed, up to a bound; a request that finds none free was not offered, and is counted so.
 */
import { connect, type Socket } from 'node:net'
import { answersOf, type Answer } from './http-load.js'

export interface OfferOptions {
  readonly port: number
  readonly perSecond: number
  readonly durationMs: number
  readonly maxConnections: number
  /** The bytes of the next request. */
  readonly next: () => Buffer
  readonly onAnswer: (answer: Answer) => void
}

export interface OfferResult {
  readonly sent: number
  /** Requests for which no connection was free: the server did not take what was sent before. */
  readonly unsent: number
  /** Connections that the server closed without an answer. */
  readonly broken: number
}

interface Line {
  readonly socket: Socket
  readonly answers: ReturnType<typeof answersOf>
}

const tickMs = 10
const lastAnswersMs = 30_000

/** Offers requests at a rate, and waits for the last answers. */
export async function offer(options: OfferOptions): Promise<OfferResult> {
  const { port, perSecond, durationMs, maxConnections, next, onAnswer } = options
  const idle: Line[] = []
  const underWay = new Set<Promise<void>>()
  let opened = 0
  let sent = 0
  let unsent = 0
  let broken = 0

  const send = async (line: Line) => {
    line.socket.write(next())
    sent += 1
    const answer = await line.answers.next()
    if (answer.done === true) {
      broken += 1
      opened -= 1
      return
    }
    onAnswer(answer.value)
    idle.push(line)
  }
  const open = (): Line => {
    opened += 1
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    // Seen by `answers`, which ends.
    socket.on('error', () => socket.destroy())
    return { socket, answers: answersOf(socket) }
  }
  const start = () => {
    const line = idle.pop() ?? (opened < maxConnections ? open() : undefined)
    if (line === undefined) {
      unsent += 1
      return
    }
    const run = send(line)
      .catch(() => {
        broken += 1
        opened -= 1
      })
      .finally(() => underWay.delete(run))
    underWay.add(run)
  }

  const startedAt = performance.now()
  let due = 0
  await new Promise<void>((resolve) => {
    const clock = setInterval(() => {
      const elapsed = performance.now() - startedAt
      for (const target = (Math.min(elapsed, durationMs) / 1_000) * perSecond; due < target; due += 1) start()
      if (elapsed < durationMs) return
      clearInterval(clock)
      resolve()
    }, tickMs)
  })
  let timer: NodeJS.Timeout | undefined
  const late = new Promise((resolve) => {
    timer = setTimeout(resolve, lastAnswersMs)
  })
  await Promise.race([Promise.all(underWay), late])
  clearTimeout(timer)
  for (const { socket } of idle) socket.destroy()
  return { sent, unsent, broken }
}
