/** The lines of a file that were refused: line number, status, code and paths; never what stood there. */
import { appendFileSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { z } from 'zod'

export interface RefusedLine {
  readonly line: number
  readonly status?: number
  readonly code: string
  readonly errors?: readonly { readonly path: string; readonly code: string }[]
}

const lineSchema = z.object({ line: z.int() })

export class FailureReport {
  #count = 0

  constructor(readonly path: string) {}

  get count(): number {
    return this.#count
  }

  /** Starts with what an earlier run reported up to this line; what lies behind it comes again. */
  open(throughLine: number): void {
    const kept = throughLine === 0 ? [] : this.#lines().filter((text) => lineOf(text) <= throughLine)
    this.#count = kept.length
    if (kept.length === 0) rmSync(this.path, { force: true })
    else writeFileSync(this.path, kept.map((text) => `${text}\n`).join(''), { mode: 0o600 })
  }

  add({ line, status, code, errors }: RefusedLine): void {
    this.#count += 1
    const places = errors?.map((error) => ({ path: error.path, code: error.code }))
    const text = JSON.stringify({ line, status, code, errors: places })
    appendFileSync(this.path, `${text}\n`, { mode: 0o600 })
  }

  #lines(): string[] {
    try {
      return readFileSync(this.path, 'utf8')
        .split('\n')
        .filter((text) => text !== '')
    } catch {
      return []
    }
  }
}

/** A line that a kill cut in the middle is none. */
function lineOf(text: string): number {
  try {
    return lineSchema.parse(JSON.parse(text)).line
  } catch {
    return Number.POSITIVE_INFINITY
  }
}
