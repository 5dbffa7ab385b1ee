/** When `annals up` stops: Ctrl-C, SIGTERM, a closed terminal, or a process that is beyond help. */

export interface Stop {
  /** Resolves when somebody asks for the stop; rejects when something failed for good. */
  readonly asked: Promise<void>
  /** Aborts at the same moment, for what is being waited for. */
  readonly signal: AbortSignal
  readonly fail: (error: Error) => void
  /** Aborts `signal` whatever happened: nothing new is to be started. */
  cancel(): void
  dispose(): void
}

const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
const exitCodeOfForcedStop = 130

/**
 * @param killAll ends every child at once; called at the second signal, after which this process exits
 */
export function listenForStop(killAll: () => void): Stop {
  const controller = new AbortController()
  let resolve: () => void = () => undefined
  let reject: (error: Error) => void = () => undefined
  const asked = new Promise<void>((onAsked, onFailed) => {
    resolve = onAsked
    reject = onFailed
  })
  // Waited for later; until then a failure must not count as unhandled.
  asked.catch(() => undefined)

  let signalled = false
  const onSignal = (signal: NodeJS.Signals) => {
    // A closing terminal may send SIGHUP after SIGINT; only a person's second word forces.
    if (signalled && signal !== 'SIGHUP') {
      killAll()
      process.exit(exitCodeOfForcedStop)
    }
    signalled = true
    controller.abort()
    resolve()
  }
  for (const signal of signals) process.on(signal, onSignal)
  return {
    asked,
    signal: controller.signal,
    fail(error) {
      controller.abort()
      reject(error)
    },
    cancel: () => controller.abort(),
    dispose() {
      for (const signal of signals) process.off(signal, onSignal)
    },
  }
}
