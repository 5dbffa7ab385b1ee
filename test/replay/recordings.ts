/**
 * Recorded histories, one file a scenario, and how they are written and replayed. They are encrypted under
 * `codec-key.json`, which opens nothing else.
 */
import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { fileURLToPath } from 'node:url'
import { temporal } from '@temporalio/proto'
import { Worker } from '@temporalio/worker'
import { z } from 'zod'
import type { TemporalConnection } from '../../src/temporal/client.js'
import { readCodecKeyFile } from '../../src/temporal/codec-keys.js'
import { createDataConverter } from '../../src/temporal/data-converter.js'
import { bundlePaths } from '../../workers/paths.js'

const { History } = temporal.api.history.v1

const namespace = 'annals-replay'
const codecKeyFile = fileURLToPath(new URL('codec-key.json', import.meta.url))
const fileOf = (name: string) => fileURLToPath(new URL(`histories/${name}.json`, import.meta.url))

/** Where histories are recorded. */
export const recordingEnvironment = {
  ANNALS_TEMPORAL_NAMESPACE: namespace,
  ANNALS_CODEC_KEY_FILE: codecKeyFile,
}

/** One history for each run of a workflow that continued as new. */
const recordingSchema = z.object({ workflowId: z.string(), histories: z.array(z.looseObject({})) })
export type Recording = z.infer<typeof recordingSchema>

export const isMissing = (name: string): boolean => !existsSync(fileOf(name))

/** @param change edits the recording's text, to see a difference refused */
export async function readRecording(
  name: string,
  change: (text: string) => string = (text) => text,
): Promise<Recording> {
  return recordingSchema.parse(JSON.parse(change(await readFile(fileOf(name), 'utf8'))))
}

/** Rejects where the workflow code of today would not have made these histories. */
export async function replay({ workflowId, histories }: Recording): Promise<void> {
  const dataConverter = createDataConverter(await readCodecKeyFile(codecKeyFile), namespace)
  const options = { workflowBundle: { codePath: bundlePaths.bundle }, dataConverter }
  for (const history of histories) {
    await Worker.runReplayHistory(options, History.fromObject(history), workflowId)
  }
}

/** Writes the histories of a workflow that has come to its end, from its first run on. */
export async function writeRecording(
  name: string,
  { client }: Pick<TemporalConnection, 'client'>,
  workflowId: string,
  firstRunId: string,
): Promise<void> {
  const histories: unknown[] = []
  for (let runId: string | undefined = firstRunId; runId !== undefined;) {
    const history: temporal.api.history.v1.IHistory = await client.workflow
      .getHandle(workflowId, runId)
      .fetchHistory()
    histories.push(
      History.toObject(History.fromObject(history), { bytes: String, longs: String, enums: String }),
    )
    const last = history.events?.at(-1)
    runId = last?.workflowExecutionContinuedAsNewEventAttributes?.newExecutionRunId ?? undefined
  }
  // Which machine recorded it is nobody's business.
  const text = JSON.stringify({ workflowId, histories }, null, 1).replaceAll(`@${hostname()}`, '@recorder')
  await writeFile(fileOf(name), `${text}\n`)
}
