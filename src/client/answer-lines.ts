/** The NDJSON that a stream answers, line by line. */
import type { Problem } from './errors.js'

/** Members as the server's `stream-answers.ts` writes them; which are there tells the kind of line. */
export interface AnswerLine {
  readonly line?: number
  readonly problem?: Problem
  readonly retryAfterSeconds?: number
  readonly through?: number
  readonly done?: boolean
  readonly accepted?: number
  readonly replayed?: number
  readonly rejected?: number
}

/** @throws whatever reading the body throws; SyntaxError where a line is no JSON */
export async function* answerLines(body: ReadableStream<Uint8Array>): AsyncGenerator<AnswerLine> {
  const reader = body.getReader()
  const decoder = new TextDecoder()
  let rest = ''
  try {
    for (;;) {
      const { done, value } = await reader.read()
      rest += done ? decoder.decode() : decoder.decode(value, { stream: true })
      const lines = rest.split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) if (line !== '') yield JSON.parse(line) as AnswerLine
      if (done) return
    }
  } finally {
    reader.cancel().catch(() => undefined)
  }
}
