/** What the client may find around it: Node has `process`, a browser has a page. */

interface Surroundings {
  readonly process?: {
    readonly versions?: { readonly node?: string }
    on?(event: 'beforeExit', callback: () => void): unknown
    off?(event: 'beforeExit', callback: () => void): unknown
  }
  addEventListener?(event: 'pagehide', callback: () => void): void
  removeEventListener?(event: 'pagehide', callback: () => void): void
}

const here: Surroundings = globalThis

/** Node reads answers while it sends. Browsers do not, or cannot send a stream at all. */
export const canStream = (): boolean => here.process?.versions?.node !== undefined

/** Calls back when the process has nothing else to do, or the page goes away. @returns takes the hook away */
export function onExit(callback: () => void): () => void {
  if (here.process?.on !== undefined) {
    here.process.on('beforeExit', callback)
    return () => here.process?.off?.('beforeExit', callback)
  }
  here.addEventListener?.('pagehide', callback)
  return () => here.removeEventListener?.('pagehide', callback)
}
