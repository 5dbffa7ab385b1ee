/**
 * Shows the anchor log's checkpoint to every witness that has not cosigned it yet, and keeps what they answer.
 *
 * All are asked side by side: one that is away, slow or wrong costs the others nothing. Whatever happens in between,
 * a process that dies included, the next turn asks those that are missing.
 */
import { nodeHasher } from '../node-crypto.js'
import { formatNote, parseNote, parseSignatureLine } from '../note.js'
import { proveTree } from '../proof.js'
import { TileHashReader } from '../tile-reader.js'
import {
  currentHeadId,
  type AnchorCollections,
  type AnchorHeadDocument,
  type AnchorStore,
  type AnchorWitnessDocument,
} from './anchor-store.js'
import {
  submitCheckpoint,
  witnessName,
  type Witness,
  type WitnessAnswer,
  type WitnessState,
} from './witness-client.js'

export interface WitnessReport {
  /** `<key name>+<key id>` */
  readonly witness: string
  /** Absent before the first try. */
  readonly state?: WitnessState
  /** Has it cosigned the checkpoint as it is now? */
  readonly cosigned: boolean
}

export interface WitnessingDependencies extends AnchorCollections {
  readonly store: AnchorStore
  readonly witnesses: AnchorCollections['witnesses']
  readonly configured: readonly Witness[]
  readonly now: () => Date
  /** Called for every answer but `cosigned`. */
  readonly onFailed: (witness: string, state: WitnessState) => void
  readonly timeoutMs?: number
}

/** A witness that did not cosign is asked again after so long, or with the next entry. */
const retryAfterMs = 60_000

/** @throws LogError `tile_mismatch` where the anchor log's tiles do not fit together; MongoDB's errors */
export async function showToWitnesses(
  dependencies: WitnessingDependencies,
  signal?: AbortSignal,
): Promise<readonly WitnessReport[]> {
  const { store, configured } = dependencies
  const head = await store.head()
  if (head === undefined || head.size === 0) {
    return configured.map((witness) => ({ witness: witnessName(witness), cosigned: false }))
  }
  const reader = new TileHashReader(head.size, head.root, store.tileSource(head.generation), nodeHasher)
  return Promise.all(
    configured.map(async (witness) => {
      const name = witnessName(witness)
      if (head.cosignatures.some((one) => one.witness === name)) {
        return { witness: name, state: 'cosigned', cosigned: true } as const
      }
      const known = await dependencies.witnesses.findOne({ _id: witnessId(head, name) })
      if (known !== null && !isDue(known, head, dependencies.now())) {
        return { witness: name, state: known.state, cosigned: false }
      }
      const answer = await submitCheckpoint(
        witness,
        {
          checkpoint: head.checkpoint,
          size: head.size,
          oldSize: known?.size ?? 0,
          proveFrom: (oldSize) => proveTree(head.size, oldSize, reader, nodeHasher),
        },
        {
          ...(dependencies.timeoutMs === undefined ? {} : { timeoutMs: dependencies.timeoutMs }),
          ...(signal === undefined ? {} : { signal }),
        },
      )
      await keep(dependencies, head, name, answer)
      if (answer.state !== 'cosigned') dependencies.onFailed(name, answer.state)
      return { witness: name, state: answer.state, cosigned: answer.state === 'cosigned' }
    }),
  )
}

/** What a witness knows is of one log: another generation of the anchor log is another one. */
const witnessId = ({ generation }: AnchorHeadDocument, name: string) => `${String(generation)}/${name}`

function isDue(known: AnchorWitnessDocument, head: AnchorHeadDocument, now: Date): boolean {
  return known.tried < head.size || now.getTime() - known.triedAt.getTime() >= retryAfterMs
}

async function keep(
  { heads, witnesses, now }: WitnessingDependencies,
  { generation, size, root, checkpoint }: AnchorHeadDocument,
  name: string,
  answer: WitnessAnswer,
): Promise<void> {
  if (answer.line !== undefined) {
    // Only on this very checkpoint: meanwhile there may be a newer one.
    await heads.updateOne(
      { _id: currentHeadId, generation, size, root, checkpoint, 'cosignatures.witness': { $ne: name } },
      { $push: { cosignatures: { witness: name, line: answer.line } } },
    )
  }
  const known = { size: answer.size, tried: size, state: answer.state, triedAt: now() }
  await witnesses.updateOne({ _id: `${String(generation)}/${name}` }, { $set: known }, { upsert: true })
}

/** The checkpoint as it is served: signed by the log, and by the witnesses that have cosigned it so far. */
export function cosignedCheckpoint({ checkpoint, cosignatures }: AnchorHeadDocument): string {
  const { text, signatures } = parseNote(checkpoint)
  return formatNote({
    text,
    signatures: [...signatures, ...cosignatures.map(({ line }) => parseSignatureLine(line))],
  })
}
