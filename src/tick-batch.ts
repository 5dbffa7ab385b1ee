/**
 * Asks the questions of one turn of the event loop together: a thousand items of a batch become one query, and a
 * single one waits for nobody.
 */
interface Waiting<Question, Answer> {
  readonly question: Question
  readonly resolve: (answer: Answer) => void
  readonly reject: (error: unknown) => void
}

/**
 * @param ask answers several questions at once, in their order; where it rejects, all of them do
 * @param maxTogether more than these are asked in several goes
 */
export function tickBatch<Question, Answer>(
  ask: (questions: readonly Question[]) => Promise<readonly Answer[]>,
  maxTogether: number,
): (question: Question) => Promise<Answer> {
  let waiting: Waiting<Question, Answer>[] = []

  async function askTogether(group: readonly Waiting<Question, Answer>[]): Promise<void> {
    try {
      const answers = await ask(group.map(({ question }) => question))
      if (answers.length !== group.length) throw new Error('a batch answered more or fewer than it was asked')
      answers.forEach((answer, index) => group[index]?.resolve(answer))
    } catch (error) {
      for (const { reject } of group) reject(error)
    }
  }

  function flush(): void {
    const all = waiting
    waiting = []
    for (let from = 0; from < all.length; from += maxTogether)
      void askTogether(all.slice(from, from + maxTogether))
  }

  return (question) =>
    new Promise((resolve, reject) => {
      waiting.push({ question, resolve, reject })
      if (waiting.length === 1) setImmediate(flush)
    })
}
