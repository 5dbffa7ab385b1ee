/**
 * The sample that `annals demo` sends: two invented customers, invented people at `.example` addresses, a few weeks
 * of what an audit trail usually holds. Made for this project; every name is fiction.
 */
import { readFileSync } from 'node:fs'

export interface SampleOrganization {
  readonly id: string
  readonly name: string
  /** One event a line. */
  readonly lines: readonly string[]
}

// The build copies the files beside the compiled module.
const linesOf = (file: string): string[] =>
  readFileSync(new URL(file, import.meta.url), 'utf8')
    .split('\n')
    .filter((line) => line !== '')

export const sampleOrganizations = (): readonly SampleOrganization[] => [
  { id: 'org_brightleaf', name: 'Brightleaf', lines: linesOf('brightleaf.ndjson') },
  { id: 'org_harbourline', name: 'Harbourline', lines: linesOf('harbourline.ndjson') },
]
