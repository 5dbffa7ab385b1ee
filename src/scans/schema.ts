/** The wire form of scans: what clients send and get, checked once, at the edge; also the source of `/openapi.json`. */
import { z } from 'zod'
import type { JsonObject, JsonValue } from '../events/contract.js'
import { limits } from '../events/limits.js'
import { pageQuery, pageSchema } from '../http/list.js'
import {
  countNamePattern,
  enginePattern,
  isLink,
  scanIdPattern,
  scanLimits,
  scanStatuses,
  type FinalStatus,
} from './contract.js'
import { formatDuration, parseDuration } from './duration.js'
import { scanTiming } from './policy.js'

/** Limits of the free-form parts, in bytes of the whole body; docs/scans.md repeats them. */
export const scanBodyLimits = {
  start: 65_536,
  progress: 65_536,
  /** Findings are stored whole: one MongoDB document. */
  end: 1_048_576,
} as const

/** An ISO 8601 duration within bounds, in milliseconds once parsed. */
function duration(minMs: number, maxMs: number) {
  return z
    .string()
    .max(64)
    .transform((text, context) => {
      const ms = parseDuration(text)
      if (ms !== undefined && ms >= minMs && ms <= maxMs) return ms
      const code = ms === undefined ? 'malformed_value' : ms < minMs ? 'too_small' : 'too_large'
      const message =
        ms === undefined
          ? 'must be an ISO 8601 duration such as PT1H, without years or months'
          : `must lie between ${formatDuration(minMs)} and ${formatDuration(maxMs)}`
      context.addIssue({ code: 'custom', message, params: { code } })
      return z.NEVER
    })
    .meta({ type: 'string', format: 'duration', example: 'PT1H' })
}

const freeFormObject = z
  .custom<JsonObject>((value) => typeof value === 'object' && value !== null && !Array.isArray(value))
  .meta({ type: 'object', additionalProperties: true })
const freeForm = z.custom<JsonValue>((value) => value !== undefined).meta({ description: 'Any JSON.' })

const counts = z
  .record(
    z.string().regex(countNamePattern),
    z.number().min(-Number.MAX_SAFE_INTEGER).max(Number.MAX_SAFE_INTEGER),
  )
  .refine((value) => Object.keys(value).length <= scanLimits.maxCounts, {
    message: `at most ${scanLimits.maxCounts} counts`,
    params: { code: 'too_many' },
  })
  .meta({ description: 'Numbers by short names of your own.', example: { hostsChecked: 412 } })

const link = z
  .string()
  .max(scanLimits.maxLinkLength)
  .refine(isLink, { message: 'must be an http or https address' })
  .meta({ format: 'uri', description: "Address of the job's own report. It is logged: no personal data." })

const engine = z.string().regex(enginePattern).meta({ example: 'vulnerability-scanner' })

export const startScanSchema = z
  .strictObject({
    engine,
    expectedWithin: duration(scanLimits.minExpectedWithinMs, scanLimits.maxExpectedWithinMs)
      .optional()
      .meta({
        description: `A scan without an end by then has timed out. Default ${formatDuration(scanTiming.defaultExpectedWithinMs)}.`,
      }),
    progressTimeout: duration(scanLimits.minProgressTimeoutMs, scanLimits.maxExpectedWithinMs)
      .optional()
      .meta({ description: 'Without progress for so long, a scan is stalled. Absent: it never is.' }),
    metadata: freeFormObject.optional(),
  })
  .meta({ id: 'ScanStart' })

export const progressSchema = z
  .strictObject({
    percent: z.number().min(0).max(100).optional(),
    message: z.string().max(limits.maxDescriptionLength).optional(),
    counts: counts.optional(),
  })
  .meta({ id: 'ScanProgress' })

export const finishSchema = z
  .strictObject({
    outcome: z.enum(['success', 'failure']),
    findings: freeForm.optional(),
    link: link.optional(),
    counts: counts.optional(),
  })
  .meta({ id: 'ScanFinish' })

export const reasonSchema = z
  .strictObject({ reason: z.string().min(1).max(limits.maxDescriptionLength) })
  .meta({ id: 'ScanEndReason' })

export const listScansSchema = z.strictObject({
  ...pageQuery,
  engine: engine.optional(),
  status: z.enum(scanStatuses).optional(),
})

export const scanPathSchema = z.object({
  org: z.string().meta({ example: 'org_acme' }),
  id: z.string().regex(scanIdPattern).meta({ example: 'scan_01kaxa2v8ve5cv9sc8ff5fs8ac' }),
})

export const scanPositionSchema = z.object({ startedAt: z.iso.datetime(), scanId: z.string() })

const time = z.iso.datetime()
const finalStatuses = ['finished', 'failed', 'cancelled'] as const satisfies readonly FinalStatus[]
const countsView = z.record(z.string(), z.number()).nullable()

export const scanViewSchema = z
  .object({
    id: z.string(),
    organizationId: z.string(),
    engine: z.string(),
    status: z.enum(scanStatuses),
    workflowId: z.string(),
    startedAt: time,
    deadlineAt: time,
    expectedWithin: z.string(),
    progressTimeout: z.string().nullable(),
    metadata: freeFormObject,
    progress: z
      .object({
        percent: z.number().nullable(),
        counts: countsView,
        message: z.string().nullable(),
        at: time,
      })
      .nullable(),
    stalledAt: time.nullable(),
    timedOutAt: time.nullable(),
    end: z
      .object({
        status: z.enum(finalStatuses),
        outcome: z.enum(['success', 'failure']),
        at: time,
        late: z.boolean(),
        counts: countsView,
        link: z.string().nullable(),
        findingsId: z.string().nullable(),
      })
      .nullable(),
  })
  .meta({ id: 'Scan' })

export const scanDetailSchema = scanViewSchema
  .extend({ findings: freeForm.nullable(), reason: z.string().nullable() })
  .meta({ id: 'ScanDetail' })

export const scanListSchema = pageSchema(scanViewSchema).meta({ id: 'ScanList' })
