/** Keeps one process running: started again when it dies, given up when it only ever dies. */
import { setTimeout as sleep } from 'node:timers/promises'
import { AnnalsError } from '../errors.js'
import { describeExit, type ServerProcess } from './server-process.js'

/** A process that dies younger than this has died quickly. */
const quickMs = 10_000
/** So many quick deaths in a row, and there is no point in another start. */
const maxQuickDeaths = 5
const defaultFirstDelayMs = 500
const maxDelayMs = 10_000

export interface SupervisedOptions<Running extends ServerProcess> {
  readonly name: string
  readonly start: () => Promise<Running>
  readonly progress: (line: string) => void
  /** Called once, after which nothing is started any more. The error says why and ends with the log's tail. */
  readonly onGiveUp: (error: AnnalsError) => void
  /** The pause before the second start; it doubles with each quick death. */
  readonly firstDelayMs?: number
}

export class Supervised<Running extends ServerProcess> {
  readonly #options: SupervisedOptions<Running>
  readonly #stopping = new AbortController()
  #current: Running | undefined
  #watching: Promise<void> = Promise.resolve()

  constructor(options: SupervisedOptions<Running>) {
    this.#options = options
  }

  /** The first start. Its failure is the caller's; deaths after it are seen to here. */
  async start(): Promise<Running> {
    const running = await this.#options.start()
    this.#current = running
    this.#watching = this.#watch(running)
    return running
  }

  get name(): string {
    return this.#options.name
  }

  /** Stops the process, a restart under way included, and resolves when it is gone. To be called after `start`. */
  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#current?.stop()
    await this.#watching
  }

  #isStopping(): boolean {
    return this.#stopping.signal.aborted
  }

  async #watch(first: Running): Promise<void> {
    const { name, progress, onGiveUp, firstDelayMs = defaultFirstDelayMs } = this.#options
    let running = first
    let startedAt = performance.now()
    let quickDeaths = 0
    for (;;) {
      const exit = await running.exited
      if (this.#isStopping()) return
      let how: string = describeExit(exit)
      let tail = running.logTail()
      quickDeaths = performance.now() - startedAt < quickMs ? quickDeaths + 1 : 1
      for (;;) {
        if (quickDeaths > maxQuickDeaths) {
          onGiveUp(givenUp(name, how, tail))
          return
        }
        const delayMs = Math.min(firstDelayMs * 2 ** (quickDeaths - 1), maxDelayMs)
        progress(`${name}: stopped by itself (${how}); starting it again in ${delayMs / 1_000} s`)
        await sleep(delayMs, undefined, { signal: this.#stopping.signal }).catch(() => undefined)
        if (this.#isStopping()) return
        try {
          startedAt = performance.now()
          running = await this.#options.start()
          break
        } catch (error) {
          how = error instanceof AnnalsError ? error.detail : 'it did not start'
          tail = []
          quickDeaths += 1
        }
      }
      this.#current = running
      if (this.#isStopping()) {
        await running.stop()
        return
      }
      progress(`${name}: runs again`)
    }
  }
}

function givenUp(name: string, how: string, tail: readonly string[]): AnnalsError {
  const lines =
    tail.length === 0 ? '' : `\nThe end of its log:\n${tail.map((line) => `  ${line}`).join('\n')}`
  return new AnnalsError('unavailable', `${name} keeps stopping (${how}); giving up.${lines}`)
}
