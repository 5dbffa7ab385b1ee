/** The labelled corpus (test/fixtures/detector-corpus/), the detector's score on it, and the table in docs/detection.md. */
import { readdirSync, readFileSync } from 'node:fs'
import { createDetector } from '../../../src/events/detectors/detector.js'
import { builtInKinds, type Finding } from '../../../src/events/detectors/finding.js'

interface LabelledText {
  readonly text: string
  /** What a careful reader calls personal data, whether or not a detector can be expected to see it. */
  readonly spans: readonly Finding[]
}

const folder = new URL('../../fixtures/detector-corpus/', import.meta.url)

export function corpus(): LabelledText[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.ndjson'))
    .sort()
    .flatMap((name) => readFileSync(new URL(name, folder), 'utf8').split('\n'))
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as LabelledText)
}

/** The table of docs/detection.md. A finding is right where its kind, its start and its end are the label's. */
export function scoreTable(): string {
  const search = createDetector().begin()
  const texts = corpus().map(({ text, spans }) => ({ spans, found: search.find(text) }))
  const rows = builtInKinds.map((kind) => {
    let labelled = 0
    let found = 0
    let right = 0
    for (const { spans, found: findings } of texts) {
      const own = findings.filter((finding) => finding.kind === kind)
      const wanted = spans.filter((span) => span.kind === kind)
      labelled += wanted.length
      found += own.length
      right += own.filter(({ start, end }) =>
        wanted.some((span) => span.start === start && span.end === end),
      ).length
    }
    return [
      `\`${kind}\``,
      ...[labelled, found, right].map(String),
      percent(right, found),
      percent(right, labelled),
    ]
  })
  return aligned([['kind', 'labelled', 'found', 'right', 'precision', 'recall'], ...rows])
}

/** As prettier lays tables out. */
function aligned([head = [], ...rows]: string[][]): string {
  const widths = head.map((_, column) => Math.max(...[head, ...rows].map((row) => row[column]?.length ?? 0)))
  const line = (cells: readonly string[], pad = ' ') =>
    `| ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0, pad)).join(' | ')} |`
  return [
    line(head),
    line(
      head.map(() => ''),
      '-',
    ),
    ...rows.map((row) => line(row)),
  ].join('\n')
}

const percent = (part: number, whole: number) => `${((100 * part) / whole).toFixed(1)} %`
