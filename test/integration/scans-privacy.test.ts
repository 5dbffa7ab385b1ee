import { afterAll, beforeAll, expect, test } from 'vitest'
import { openPayload } from '../../src/temporal/codec.js'
import { finishSignal, progressSignal } from '../../src/scans/contract.js'
import { body, eventually, openScanWorld, request, type ScanWorld } from './scans-world.js'

let world: ScanWorld
const secrets = {
  metadata: 'asset of jane.metadata@acme.example',
  message: 'looking at jane.message@acme.example',
  findings: 'found jane.findings@acme.example',
  reason: 'jane.reason@acme.example said no',
}

beforeAll(async () => {
  world = await openScanWorld()
  await world.work()
})
afterAll(() => world.close())

test('neither raw nor decoded histories, visibility or logs hold anything free-form', async () => {
  const metadata = { note: secrets.metadata, [`key of ${secrets.metadata}`]: 1 }
  const one = await world.scans.start(request, body({ engine: 'private-engine', metadata }))
  await world.scans.progress(request, one.scan.id, { percent: 3, message: secrets.message })
  await world.scans.end(request, one.scan.id, {
    status: 'finished',
    outcome: 'success',
    findings: { text: secrets.findings },
  })
  const two = await world.scans.start(request, body({ engine: 'private-engine', metadata }))
  await world.scans.end(request, two.scan.id, {
    status: 'failed',
    outcome: 'failure',
    reason: secrets.reason,
  })
  // A job that sends free text where none belongs, and has the codec: it is ignored, and encrypted where it lies.
  const three = await world.scans.start(request, body({ engine: 'private-engine' }))
  await world.workflow(three.scan.id).signal(progressSignal, { percent: 101, note: secrets.message })
  await world.workflow(three.scan.id).signal(finishSignal, { outcome: 'success' })

  const raw: string[] = []
  const decoded: string[] = []
  for (const { scan } of [one, two, three]) {
    await world.workflow(scan.id).result()
    const history = await world.workflow(scan.id).fetchHistory()
    raw.push(rawText(history))
    if (scan.id !== three.scan.id) decoded.push(...decodedPayloads(history))
  }
  for await (const info of world.temporal.client.workflow.list()) decoded.push(JSON.stringify(info))

  expect(decoded.join('\n')).toContain('private-engine')
  // The core hands its lines on with a delay.
  await eventually(
    () => Promise.resolve(world.workerLogs()),
    (logs) => logs.includes('workflow.completed'),
  )
  for (const secret of Object.values(secrets)) {
    expect(decoded.join('\n')).not.toContain(secret)
    expect(world.logs() + world.workerLogs()).not.toContain(secret)
  }
  // Of what is said in payloads, summaries and memos, nothing at all can be read without the key.
  for (const word of ['private-engine', 'expectedWithinMs', 'Write the end', ...Object.values(secrets)]) {
    expect(raw.join('\n')).not.toContain(word)
  }
})

/** Every payload of a history, opened, wherever in it it lies. */
function decodedPayloads(value: unknown): string[] {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return []
  if ('metadata' in value && 'data' in value && ArrayBuffer.isView(value.data)) {
    const opened = openPayload(
      { metadata: metadataOf(value.metadata), data: bytesOf(value.data) },
      world.temporal.codecKeys,
      world.temporal.namespace,
    )
    return [Buffer.from(opened.data ?? []).toString('utf8')]
  }
  return Object.values(value).flatMap(decodedPayloads)
}

/** All bytes of a history as text: what somebody sees who reads Temporal's database. */
function rawText(value: unknown): string {
  if (typeof value === 'string') return value
  if (ArrayBuffer.isView(value)) return Buffer.from(bytesOf(value)).toString('latin1')
  if (typeof value !== 'object' || value === null) return ''
  return Object.values(value).map(rawText).join('\n')
}

function bytesOf(view: ArrayBufferView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength)
}

function metadataOf(value: unknown): Record<string, Uint8Array> {
  return Object.fromEntries(
    Object.entries(value ?? {}).flatMap(([name, bytes]: [string, unknown]) =>
      ArrayBuffer.isView(bytes) ? [[name, bytesOf(bytes)]] : [],
    ),
  )
}
