/** Notes which events the answers of a world acknowledged, for the oracle of search (search-oracle.ts). */

/** Ids by organization. */
export type Acknowledged = ReadonlyMap<string, ReadonlySet<string>>

export class Acknowledgements {
  readonly ids = new Map<string, Set<string>>()

  add(organizationId: string, id: string): void {
    const known = this.ids.get(organizationId) ?? new Set()
    known.add(id)
    this.ids.set(organizationId, known)
  }

  /** Notes what a request was answered; anything but an event taken in is passed over. */
  note(method: string, path: string, sent: unknown, status: number, answered: unknown): void {
    if (method !== 'POST') return
    if (path === '/v1/events' && status === 201) this.#addOne(answered, answered)
    if (path !== '/v1/events/batch' || status !== 200) return
    const { results } = answered as { results: { index: number; status: number }[] }
    const { events } = parsed(sent) as { events: unknown[] }
    for (const result of results) if (result.status === 201) this.#addOne(events[result.index], result)
  }

  #addOne(owner: unknown, answer: unknown): void {
    this.add((owner as { organizationId: string }).organizationId, (answer as { id: string }).id)
  }
}

function parsed(sent: unknown): unknown {
  if (typeof sent === 'string') return JSON.parse(sent)
  return sent instanceof Uint8Array ? JSON.parse(Buffer.from(sent).toString()) : sent
}
