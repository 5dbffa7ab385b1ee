/** When a long-running command has to stop. */

export interface Shutdown {
  /** Resolves with the first reason to stop. */
  readonly requested: Promise<string>
  /** Takes the listeners away again. */
  dispose(): void
}

const exitCodeAfterSignal = { SIGINT: 130, SIGTERM: 143 } as const

/**
 * Listens for SIGINT, SIGTERM, and the end of a parent that started this process with a channel. A second signal
 * ends the process at once: the operator has waited long enough.
 */
export function listenForShutdown(): Shutdown {
  const { promise, resolve } = withResolvers()
  let asked = false
  const onSignal = (signal: NodeJS.Signals): void => {
    if (asked && (signal === 'SIGINT' || signal === 'SIGTERM')) process.exit(exitCodeAfterSignal[signal])
    asked = true
    resolve(signal)
  }
  const onDisconnect = (): void => {
    asked = true
    resolve('disconnect')
  }
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
  process.on('disconnect', onDisconnect)
  return {
    requested: promise,
    dispose() {
      process.off('SIGINT', onSignal)
      process.off('SIGTERM', onSignal)
      process.off('disconnect', onDisconnect)
    },
  }
}

/** `Promise.withResolvers`, which Node 20 lacks. */
function withResolvers(): { promise: Promise<string>; resolve: (reason: string) => void } {
  let resolve: (reason: string) => void = () => undefined
  const promise = new Promise<string>((settle) => {
    resolve = settle
  })
  return { promise, resolve }
}

/** Tells the parent, where one listens. */
export function tellParent(message: Readonly<Record<string, string>>): void {
  if (process.connected) process.send?.(message)
}
