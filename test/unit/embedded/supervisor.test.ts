import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { AnnalsError } from '../../../src/errors.js'
import type { Exit, ServerProcess } from '../../../src/embedded/server-process.js'
import { Supervised } from '../../../src/embedded/supervisor.js'

/** A process that a test ends when it wants. */
function controlled(pid: number): ServerProcess & { die(exit: Exit): void; readonly stopped: () => boolean } {
  let die: (exit: Exit) => void = () => undefined
  const exited = new Promise<Exit>((resolve) => (die = resolve))
  let stopped = false
  return {
    pid,
    exited,
    die,
    stopped: () => stopped,
    async stop() {
      stopped = true
      die({ code: 0, signal: null })
      await exited
    },
    logTail: () => [`the last words of ${pid}`],
  }
}

describe('a supervised process', () => {
  beforeEach(() => vi.useFakeTimers({ toFake: ['performance'] }))
  afterEach(() => vi.useRealTimers())

  const world = () => {
    const processes: ReturnType<typeof controlled>[] = []
    const said: string[] = []
    const givenUp: AnnalsError[] = []
    const supervised = new Supervised({
      name: 'annals serve',
      start: () => {
        const started = controlled(processes.length + 1)
        processes.push(started)
        return Promise.resolve(started)
      },
      progress: (line) => said.push(line),
      onGiveUp: (error) => givenUp.push(error),
      firstDelayMs: 1,
    })
    return { processes, said, givenUp, supervised }
  }

  test('is started again when it dies, and says so', async () => {
    const { processes, said, supervised } = world()
    await supervised.start()
    processes[0]?.die({ code: null, signal: 'SIGKILL' })
    await vi.waitFor(() => expect(processes).toHaveLength(2))
    expect(said[0]).toMatch(/stopped by itself \(SIGKILL\); starting it again/)
    await supervised.stop()
    expect(processes[1]?.stopped()).toBe(true)
  })

  test('that dies quickly again and again is given up with the end of its log', async () => {
    const { processes, givenUp, supervised } = world()
    await supervised.start()
    for (let death = 0; death < 6; death += 1) {
      await vi.waitFor(() => expect(processes).toHaveLength(death + 1))
      processes[death]?.die({ code: 1, signal: null })
    }
    await vi.waitFor(() => expect(givenUp).toHaveLength(1))
    expect(givenUp[0]?.detail).toContain('annals serve keeps stopping (exit code 1)')
    expect(givenUp[0]?.detail).toContain('the last words of 6')
    expect(processes).toHaveLength(6)
  })

  test('that lives long between its deaths is never given up', async () => {
    const { processes, givenUp, supervised } = world()
    await supervised.start()
    for (let death = 0; death < 10; death += 1) {
      await vi.waitFor(() => expect(processes).toHaveLength(death + 1))
      vi.advanceTimersByTime(11_000)
      processes[death]?.die({ code: 1, signal: null })
    }
    await vi.waitFor(() => expect(processes).toHaveLength(11))
    expect(givenUp).toEqual([])
    await supervised.stop()
  })

  test('is not started again once it was stopped', async () => {
    const { processes, said, supervised } = world()
    await supervised.start()
    await supervised.stop()
    expect(processes).toHaveLength(1)
    expect(said).toEqual([])
  })
})
