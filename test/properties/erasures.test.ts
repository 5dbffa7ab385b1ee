/**
 * Whatever people do to a request, whenever, and whatever its steps find: the workflow's decisions (`nextStep`) and the
 * state machine together, as a model without servers that plays months in a moment.
 */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { isFinal } from '../../src/erasure/contract.js'
import { dueMs, extension, firstDueMs, type Receipt } from '../../src/erasure/deadlines.js'
import { erasureTiming, nextStep, type ErasureSnapshot, type RunningStep } from '../../src/erasure/policy.js'
import { isPastFence, transition, type ErasureEvent } from '../../src/erasure/state-machine.js'

const hourMs = 3_600_000
const coolingOffMs = 24 * hourMs
const receipt: Receipt = { atMs: Date.UTC(2026, 0, 31, 10), offsetMinutes: 60 }

/** What a step may find; null = nothing, it fails. */
const findings: Readonly<Record<RunningStep, readonly ErasureEvent[]>> = {
  scope: ['scoped', 'scoped', 'matched_nothing', 'matched_duplicate', 'stopped'],
  fence: ['prepared', 'prepared', 'hold_found', 'stopped'],
  erase: ['erased', 'erased', 'stopped'],
  verify: ['verified_clean', 'residue_found', 'stopped'],
  notify: ['notified', 'stopped'],
  complete: ['nothing_remains', 'exceptions_remain', 'stopped'],
}

const people = [
  'identity_verified',
  'identity_failed',
  'approve',
  'deny',
  'extend',
  'withdraw',
  'attest',
  'retry',
] as const satisfies readonly ErasureEvent[]

const move = fc.oneof(
  { weight: 3, arbitrary: fc.record({ pass: fc.integer({ min: 1, max: 40 * 24 }) }) },
  { weight: 2, arbitrary: fc.record({ act: fc.constantFrom('identity_verified', 'approve', 'retry') }) },
  { weight: 1, arbitrary: fc.record({ act: fc.constantFrom(...people) }) },
)

/** What happened, in order. */
interface Line {
  readonly what: ErasureEvent | 'remind' | 'escalate' | `begin ${RunningStep}`
  readonly atMs: number
}

class Model {
  nowMs = receipt.atMs
  readonly trace: Line[] = []
  snapshot: ErasureSnapshot = {
    state: 'received',
    resumeAt: null,
    version: 1,
    dueMs: firstDueMs(receipt),
    extended: false,
    remindedMs: null,
    overdueMs: null,
    coolingOffEndsMs: null,
    recheckMs: null,
    expiryMs: null,
    reason: null,
  }

  constructor(private readonly choices: readonly number[]) {}

  apply(event: ErasureEvent): void {
    const moved = transition(this.snapshot, event)
    if (!moved.allowed) return
    if (event === 'extend') {
      if (extension(receipt, this.snapshot.extended, this.nowMs) !== 'possible') return
      this.snapshot = { ...this.snapshot, extended: true, dueMs: dueMs(receipt, true) }
    }
    this.trace.push({ what: event, atMs: this.nowMs })
    this.snapshot = {
      ...this.snapshot,
      state: moved.state,
      resumeAt: moved.resumeAt,
      version: this.snapshot.version + 1,
      ...(event === 'cool_off' ? { coolingOffEndsMs: this.nowMs + coolingOffMs } : {}),
      ...(event === 'hold_found' ? { recheckMs: this.nowMs + erasureTiming.holdRecheckMs } : {}),
    }
  }

  /** Does what is to be done at this moment. @returns when there is something to do again */
  settle(): number {
    for (let turn = 0; turn < 50; turn += 1) {
      const step = nextStep(this.snapshot, this.nowMs)
      switch (step.do) {
        case 'close':
          return Infinity
        case 'wait':
          expect(step.untilMs).toBeGreaterThan(this.nowMs)
          return step.untilMs
        case 'remind':
          this.trace.push({ what: 'remind', atMs: this.nowMs })
          this.snapshot = { ...this.snapshot, remindedMs: step.momentMs }
          break
        case 'escalate':
          this.trace.push({ what: 'escalate', atMs: this.nowMs })
          this.snapshot = { ...this.snapshot, overdueMs: this.snapshot.dueMs }
          break
        case 'advance':
          this.apply(step.event)
          break
        case 'run': {
          this.trace.push({ what: `begin ${step.step}`, atMs: this.nowMs })
          const possible = findings[step.step]
          const choice = this.choices[this.trace.length % this.choices.length] ?? 0
          this.apply(possible[choice % possible.length] ?? 'stopped')
        }
      }
    }
    throw new Error('the workflow does not come to rest')
  }

  pass(ms: number): void {
    const untilMs = this.nowMs + ms
    for (let next = this.settle(); next <= untilMs; next = this.settle()) this.nowMs = next
    this.nowMs = untilMs
    this.settle()
  }
}

test('on every way that a request can go', () => {
  const ends = new Map<string, number>()
  fc.assert(
    fc.property(
      fc.array(move, { maxLength: 25 }),
      fc.array(fc.nat(1_000), { minLength: 1, maxLength: 40 }),
      (moves, choices) => {
        const model = new Model(choices)
        model.settle()
        for (const one of moves) {
          if ('pass' in one) model.pass(one.pass * hourMs)
          else {
            const before = model.snapshot
            model.apply(one.act)
            // Nobody takes back what is past the fence.
            if (isPastFence(before)) expect(isPastFence(model.snapshot)).toBe(true)
            model.settle()
          }
        }
        const { trace, snapshot } = model
        ends.set(snapshot.state, (ends.get(snapshot.state) ?? 0) + 1)
        const last = (what: Line['what']) => trace.findLastIndex((line) => line.what === what)
        const count = (what: Line['what']) => trace.filter((line) => line.what === what).length

        // Nothing begins after an end.
        const ended = trace.findIndex(({ what }) => what === 'withdraw' || what === 'deny')
        if (ended !== -1) expect(ended).toBe(trace.length - 1)
        // Nothing is fenced before it was approved and has cooled off.
        const fenced = trace.find(({ what }) => what === 'begin fence')
        const cooled = trace.find(({ what }) => what === 'cool_off')
        if (fenced !== undefined) {
          expect(last('approve')).toBeGreaterThan(-1)
          expect(fenced.atMs - (cooled?.atMs ?? Infinity)).toBeGreaterThanOrEqual(coolingOffMs)
        }
        // Completed: the last verification came after the last removal, and found nothing.
        if (snapshot.state === 'completed' || snapshot.state === 'completed_with_exceptions') {
          expect(last('verified_clean')).toBeGreaterThan(last('erased'))
          expect(last('erased')).toBeGreaterThan(last('residue_found'))
          expect(last('erased')).toBeGreaterThan(-1)
        }
        expect(count('extend')).toBeLessThanOrEqual(1)
        expect(count('approve')).toBeLessThanOrEqual(1)
        // Once for each due moment there was.
        expect(count('escalate')).toBeLessThanOrEqual(1 + count('extend'))
        expect(count('remind')).toBeLessThanOrEqual(3 * (1 + count('extend')))
        // Overdue is never silent.
        const bound = !isFinal(snapshot.state) && snapshot.state !== 'awaiting_expiry'
        if (bound && model.nowMs >= snapshot.dueMs) expect(snapshot.overdueMs).toBe(snapshot.dueMs)
      },
    ),
    // So many that the rarest end, one in six hundred, is never missed by chance.
    { numRuns: 10_000 },
  )
  // The model gets about: a property of a request that never gets anywhere says nothing.
  for (const state of ['completed', 'withdrawn', 'needs_operator', 'no_match', 'on_hold', 'denied']) {
    expect(ends.get(state) ?? 0).toBeGreaterThan(0)
  }
}, 60_000)
