/** Collects what does not hold, in the order in which it was found, and keeps the first of it. */
import { fieldStates, type FieldState, type Finding } from './contract.js'

/** A log that was rewritten from end to end has a finding a leaf: the rest is counted. */
const maxKept = 1_000

export class Findings {
  readonly #kept: Finding[] = []
  #count = 0

  add(finding: Finding): void {
    this.#count += 1
    if (this.#kept.length < maxKept) this.#kept.push(finding)
  }

  get count(): number {
    return this.#count
  }

  /** Those of objects first, then those of leaves by their index: the first leaf that differs is the first of them. */
  sorted(): Finding[] {
    const place = ({ leaf }: Finding) => leaf?.index ?? -1
    return this.#kept.toSorted((a, b) => place(a) - place(b))
  }
}

export class FieldCounts {
  readonly #counts = new Map<FieldState, number>()

  add(state: FieldState, count = 1): void {
    this.#counts.set(state, (this.#counts.get(state) ?? 0) + count)
  }

  all(): Record<FieldState, number> {
    const of = (state: FieldState) => this.#counts.get(state) ?? 0
    const [intact, withheld, erased, expired, missing] = fieldStates
    return {
      intact: of(intact),
      withheld: of(withheld),
      erased: of(erased),
      expired: of(expired),
      missing: of(missing),
    }
  }
}
