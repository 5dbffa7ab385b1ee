/** `/healthz`: the process answers. `/readyz`: it can do its work, and is not on its way out. */
import { Router } from 'express'

/** Something readiness depends on, or only reports. */
export interface Probe {
  /** Rejects where the thing is away. */
  check(): Promise<unknown>
  /** Not ready without it. A probe that is not required is reported only. */
  readonly required: boolean
}

export interface Health {
  /** From now on `/readyz` answers 503, so that a load balancer sends nothing more. */
  startDraining(): void
  /** Calls back when draining starts: for requests that would otherwise go on for as long as their client likes. */
  onDraining(callback: () => void): void
  readiness(): Promise<Readiness>
}

export interface Readiness {
  readonly ready: boolean
  readonly draining: boolean
  readonly checks: Readonly<Record<string, 'up' | 'down'>>
}

const checkTimeoutMs = 2_000
/** `/readyz` is open to everybody: however often it is asked, each thing is checked this often at most. */
const freshMs = 500

/** @param probes by the name that `/readyz` shows, such as `mongodb` */
export function createHealth(probes: Readonly<Record<string, Probe>>): Health {
  let draining = false
  const callbacks: (() => void)[] = []
  let latest: { readonly at: number; readonly checks: Promise<Record<string, 'up' | 'down'>> } | undefined

  const runChecks = async (): Promise<Record<string, 'up' | 'down'>> => {
    const results = Object.entries(probes).map(async ([name, probe]) => [name, await stateOf(probe)] as const)
    return Object.fromEntries(await Promise.all(results))
  }

  return {
    startDraining() {
      draining = true
      for (const callback of callbacks.splice(0)) callback()
    },
    onDraining: (callback) => void callbacks.push(callback),
    async readiness() {
      const now = performance.now()
      if (latest === undefined || now - latest.at > freshMs) latest = { at: now, checks: runChecks() }
      const checks = await latest.checks
      const missing = Object.entries(probes).some(([name, probe]) => probe.required && checks[name] !== 'up')
      return { ready: !draining && !missing, draining, checks }
    },
  }
}

async function stateOf(probe: Probe): Promise<'up' | 'down'> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error('the check took too long')), checkTimeoutMs)
  })
  try {
    await Promise.race([probe.check(), late])
    return 'up'
  } catch {
    return 'down'
  } finally {
    clearTimeout(timer)
  }
}

export function healthRouter(health: Health): Router {
  const router = Router()
  router.get('/healthz', (_request, response) => {
    response.json({ status: 'ok' })
  })
  router.get('/readyz', async (_request, response) => {
    const { ready, draining, checks } = await health.readiness()
    response.status(ready ? 200 : 503)
    if (!ready) response.setHeader('retry-after', '1')
    response.json({ status: ready ? 'ready' : 'not_ready', draining, checks })
  })
  return router
}
