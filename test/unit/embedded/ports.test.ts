import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { claimFolder, claimPort } from '../../../src/embedded/port-claims.js'
import { freePort, portAnswers } from '../../../src/embedded/ports.js'
import { identifyProcess } from '../../../src/embedded/process-table.js'

const listen = async (port: number) => {
  const server = createServer((socket) => socket.destroy())
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  return server
}

test('a busy port gives another free one', async () => {
  const port = await freePort(0)
  expect(await freePort(port)).toBe(port)
  const server = await listen(port)
  expect(await freePort(port)).not.toBe(port)
  expect(await claimPort(port)).not.toBe(port)
  server.close()
})

test('a port that another process has claimed is not taken, free as it may look', async () => {
  const port = await claimPort(0)
  const path = join(claimFolder, String(port))
  expect(await claimPort(port)).toBe(port)

  const other = await freePort(0)
  const held = join(claimFolder, String(other))
  writeFileSync(held, JSON.stringify(identifyProcess(process.ppid)))
  expect(await claimPort(other)).not.toBe(other)
  // Its process is gone: the claim with it.
  writeFileSync(held, JSON.stringify({ pid: process.ppid, startedAt: '1' }))
  expect(await claimPort(other)).toBe(other)
  expect(existsSync(path)).toBe(true)
  rmSync(held, { force: true })
})

test('waiting for a port ends when it answers, or when the wait is called off', async () => {
  const port = await freePort(0)
  const controller = new AbortController()
  const waiting = portAnswers(port, controller.signal)
  controller.abort()
  await expect(waiting).rejects.toThrow(/abort/i)
  const server = await listen(port)
  await portAnswers(port, new AbortController().signal)
  server.close()
})
