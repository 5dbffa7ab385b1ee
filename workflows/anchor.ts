/**
 * The duties of every minute, for ever: the newest checkpoints are copied beside the archive, the anchor log gets its
 * entry, and the witnesses are shown it. A turn is a third of a minute, so that a copy is never older than one and an
 * entry that was not due yet waits for less. What an operator sees of it are the workflow's details.
 */
import {
  allHandlersFinished,
  condition,
  continueAsNew,
  proxyActivities,
  setCurrentDetails,
  sleep,
  workflowInfo,
} from '@temporalio/workflow'
import type { AnchorActivities } from '../activities/anchor.js'
import type { AnchorInput, AnchorTurn, CopyTurn } from '../src/transparency-log/contract.js'

/** A duty that fails is left to the next turn: the others must not wait for it. */
const bounds = {
  startToCloseTimeout: '2m',
  heartbeatTimeout: '10s',
  retry: { initialInterval: '1s', backoffCoefficient: 2, maximumAttempts: 4 },
} as const

const { copyCheckpoints } = proxyActivities<AnchorActivities>({ ...bounds, summary: 'Copy checkpoints' })
const { appendAnchor } = proxyActivities<AnchorActivities>({ ...bounds, summary: 'Append to the anchor log' })
const { showAnchor } = proxyActivities<AnchorActivities>({ ...bounds, summary: 'Show it to witnesses' })

const defaultTurnMs = 20_000
const defaultTurns = 100

export async function anchor(input: AnchorInput): Promise<never> {
  let copies: CopyTurn | undefined
  let anchored: AnchorTurn | undefined
  for (let turn = 0; ; turn += 1) {
    if (turn >= (input.turns ?? defaultTurns) || workflowInfo().continueAsNewSuggested) {
      await condition(allHandlersFinished)
      await continueAsNew<typeof anchor>(input)
    }
    copies = await copyCheckpoints().catch(() => undefined)
    setCurrentDetails(details(input, copies, anchored))
    const appended = await appendAnchor().catch(() => undefined)
    const witnesses = await showAnchor().catch(() => [])
    anchored = appended === undefined ? undefined : { ...appended, witnesses }
    setCurrentDetails(details(input, copies, anchored))
    await sleep(input.turnMs ?? defaultTurnMs)
  }
}

function details(
  { region }: AnchorInput,
  copies: CopyTurn | undefined,
  anchored: AnchorTurn | undefined,
): string {
  return [
    `**Anchor log and checkpoint copies** of region ${region}`,
    ...(copies === undefined
      ? ['- [ ] checkpoints could not be copied: is MongoDB, is the archive there?']
      : [`- [${copies.failed === 0 ? 'x' : ' '}] checkpoints copied (failed: ${String(copies.failed)})`]),
    ...(copies === undefined || copies.refusedCount === 0
      ? []
      : [
          `- [ ] **${String(copies.refusedCount)} logs are behind what was published and refuse to grow**: ` +
            `${copies.refused.join(', ')}. See docs/anchoring.md, \`annals log restart\`.`,
        ]),
    ...(anchored === undefined
      ? ['- [ ] the anchor log: not in this turn yet']
      : [
          `- [${anchored.outcome === 'refused' ? ' ' : 'x'}] anchor log: ${String(anchored.size)} entries (${anchored.outcome})`,
          ...anchored.witnesses.map(
            ({ witness, state, cosigned }) => `- [${cosigned ? 'x' : ' '}] witness ${witness}: ${state}`,
          ),
        ]),
    `- as of ${new Date().toISOString()}`,
  ].join('\n')
}
