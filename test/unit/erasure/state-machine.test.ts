import { describe, expect, test } from 'vitest'
import { erasureStates, finalStates, type ErasureState } from '../../../src/erasure/contract.js'
import {
  erasureEvents,
  isPastFence,
  positions,
  transition,
  type ErasureEvent,
  type Position,
} from '../../../src/erasure/state-machine.js'

/**
 * Every pair of state and event that leads anywhere, written down once more by hand; `needs_operator` with where it
 * stopped. What stands on the right is the next state (`needs_operator<erasing` = it goes on with erasing).
 */
const table: Readonly<Record<string, Readonly<Partial<Record<ErasureEvent, string>>>>> = {
  received: {
    begin: 'identity_pending',
    identity_verified: 'scoping',
    identity_failed: 'identity_failed',
    extend: 'received',
    withdraw: 'withdrawn',
  },
  identity_pending: {
    identity_verified: 'scoping',
    identity_failed: 'identity_failed',
    extend: 'identity_pending',
    withdraw: 'withdrawn',
  },
  scoping: {
    scoped: 'review',
    matched_nothing: 'no_match',
    matched_duplicate: 'duplicate',
    stopped: 'needs_operator<scoping',
    extend: 'scoping',
    withdraw: 'withdrawn',
  },
  review: {
    approve: 'approved',
    deny: 'denied',
    extend: 'review',
    withdraw: 'withdrawn',
    attest: 'review',
  },
  approved: {
    cool_off: 'cooling_off',
    deny: 'denied',
    extend: 'approved',
    withdraw: 'withdrawn',
    attest: 'approved',
  },
  cooling_off: {
    cooling_off_over: 'fenced',
    deny: 'denied',
    extend: 'cooling_off',
    withdraw: 'withdrawn',
    attest: 'cooling_off',
  },
  on_hold: {
    cooling_off_over: 'fenced',
    deny: 'denied',
    extend: 'on_hold',
    withdraw: 'withdrawn',
    attest: 'on_hold',
  },
  fenced: {
    hold_found: 'on_hold',
    prepared: 'erasing',
    stopped: 'needs_operator<fenced',
    extend: 'fenced',
    attest: 'fenced',
  },
  erasing: {
    erased: 'verifying',
    stopped: 'needs_operator<erasing',
    extend: 'erasing',
    attest: 'erasing',
  },
  verifying: {
    verified_clean: 'notifying',
    residue_found: 'needs_operator<erasing',
    stopped: 'needs_operator<verifying',
    extend: 'verifying',
    attest: 'verifying',
  },
  notifying: { notified: 'awaiting_expiry', stopped: 'needs_operator<notifying', extend: 'notifying' },
  awaiting_expiry: {
    nothing_remains: 'completed',
    exceptions_remain: 'completed_with_exceptions',
    stopped: 'needs_operator<awaiting_expiry',
    extend: 'awaiting_expiry',
  },
  'needs_operator<scoping': {
    retry: 'scoping',
    withdraw: 'withdrawn',
    extend: 'needs_operator<scoping',
    attest: 'needs_operator<scoping',
  },
  ...Object.fromEntries(
    ['fenced', 'erasing', 'verifying', 'notifying', 'awaiting_expiry'].map((stopped) => [
      `needs_operator<${stopped}`,
      {
        retry: stopped,
        extend: `needs_operator<${stopped}`,
        attest: `needs_operator<${stopped}`,
      },
    ]),
  ),
}

const nameOf = ({ state, resumeAt }: Position) => (resumeAt === null ? state : `${state}<${resumeAt}`)
const pairs = positions.flatMap((position) =>
  erasureEvents.map((event) => ({ position, event, from: nameOf(position) })),
)

test('every state is in the table, or is final', () => {
  const reached = new Set<ErasureState>(positions.map(({ state }) => state))
  expect([...reached].sort()).toEqual([...erasureStates].sort())
  for (const position of positions) {
    const final = finalStates.some((state) => state === position.state)
    expect(Object.hasOwn(table, nameOf(position))).toBe(!final)
  }
})

test.each(pairs)('$from, $event', ({ position, event, from }) => {
  const result = transition(position, event)
  const expected = table[from]?.[event]
  if (expected === undefined) expect(result).toEqual({ allowed: false, code: 'wrong_state' })
  else expect(result.allowed && nameOf(result)).toBe(expected)
})

/** Every position that can be reached from a new request, and from each the events that led there. */
function walk(start: Position, visit: (from: Position, event: ErasureEvent, to: Position) => void): void {
  const seen = new Set([nameOf(start)])
  const waiting = [start]
  for (let from = waiting.pop(); from !== undefined; from = waiting.pop()) {
    for (const event of erasureEvents) {
      const to = transition(from, event)
      if (!to.allowed) continue
      visit(from, event, to)
      if (!seen.has(nameOf(to))) waiting.push(to)
      seen.add(nameOf(to))
    }
  }
}
const start: Position = { state: 'received', resumeAt: null }

describe('on every path', () => {
  test('every state can be reached', () => {
    const reached = new Set<string>(['received'])
    walk(start, (_from, _event, to) => reached.add(to.state))
    expect([...reached].sort()).toEqual([...erasureStates].sort())
  })

  test('a request is completed only after a verification found nothing', () => {
    const without = (event: ErasureEvent) => {
      const reached = new Set<string>()
      const seen = new Set([nameOf(start)])
      const waiting: Position[] = [start]
      for (let from = waiting.pop(); from !== undefined; from = waiting.pop()) {
        for (const one of erasureEvents.filter((candidate) => candidate !== event)) {
          const to = transition(from, one)
          if (!to.allowed || seen.has(nameOf(to))) continue
          seen.add(nameOf(to))
          reached.add(to.state)
          waiting.push(to)
        }
      }
      return reached
    }
    // Each of these stands on every path to the end: leave one out and there is no way there.
    for (const needed of [
      'identity_verified',
      'scoped',
      'approve',
      'cooling_off_over',
      'prepared',
      'erased',
      'verified_clean',
    ] as const) {
      expect(without(needed).has('completed')).toBe(false)
      expect(without(needed).has('completed_with_exceptions')).toBe(false)
    }
    expect(without('retry').has('completed')).toBe(true)
  })

  test('nothing follows a final state, and so no fence follows a withdrawal', () => {
    for (const state of finalStates) {
      walk({ state, resumeAt: null }, () => expect.unreachable(`${state} is left`))
    }
  })

  test('past the fence nothing takes a request back but a fence that changed nothing', () => {
    walk(start, (from, event, to) => {
      if (!isPastFence(from) || isPastFence(to)) return
      expect([event, to.state]).toEqual(['hold_found', 'on_hold'])
    })
  })

  test('only a state that stands still leads out of needing an operator', () => {
    walk(start, (from, event) => {
      if (from.state !== 'needs_operator') return
      expect(['retry', 'withdraw', 'extend', 'attest']).toContain(event)
    })
  })
})
