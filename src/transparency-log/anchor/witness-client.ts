/**
 * Shows a checkpoint to one witness: the client's side of C2SP tlog-witness `POST <prefix>/add-checkpoint`.
 *
 * A witness is the operator's choice and somebody else's server: its answers are bounded in size and time, redirects
 * are not followed, and a cosignature counts only once it was verified.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { cosignatureTime, cosignatureVerifier } from '../cosignature.js'
import { utf8, utf8Text } from '../encoding.js'
import { LogError } from '../errors.js'
import { nodeNoteCrypto } from '../node-crypto.js'
import { formatSignatureLine, isBy, parseNote } from '../note.js'
import { formatVerifierKey, type VerifierKey } from '../note-key.js'
import type { Proof } from '../proof.js'
import { formatAddCheckpoint, parseCosignatures, parseWitnessSize } from '../witness-message.js'

export interface Witness {
  /** The submission prefix, without a slash at its end. */
  readonly url: string
  readonly key: VerifierKey
}

/** `<key name>+<key id>`: names a witness in the database, in figures and to operators. */
export const witnessName = ({ key }: Witness): string =>
  formatVerifierKey(key).split('+').slice(0, 2).join('+')

/**
 * `ahead`, `conflict`: the witness has seen a larger tree of this log, or another one of the same size. One of the two
 * logs is not the one that was published: an alarm, whatever else.
 * `unknown_log` (404), `unknown_key` (403), `refused_proof` (422): what the witness says; its operator must act.
 */
export type WitnessState =
  | 'cosigned'
  | 'ahead'
  | 'conflict'
  | 'unknown_log'
  | 'unknown_key'
  | 'refused_proof'
  | 'bad_cosignature'
  | 'bad_answer'
  | 'unreachable'

export interface WitnessAnswer {
  readonly state: WitnessState
  /** The tree that the witness has now, as far as it is known. */
  readonly size: number
  /** The verified signature line, where it cosigned. */
  readonly line?: string
}

export interface Submission {
  /** The signed note. */
  readonly checkpoint: string
  readonly size: number
  /** The consistency proof from an older tree. */
  readonly proveFrom: (oldSize: number) => Promise<Proof>
  /** What the witness is thought to have. A wrong thought costs one more request. */
  readonly oldSize: number
}

export interface WitnessLimits {
  /** For one request and its answer. Default 10 s. */
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
}

const defaultTimeoutMs = 10_000
/** A hundred signatures of the largest kind fit. */
const maxAnswerBytes = 65_536
/** The first may be refused because of its old size, the second because another process was quicker. */
const maxRequests = 3
const retryPauseMs = 250

/** Never throws for what a witness does. */
export async function submitCheckpoint(
  witness: Witness,
  submission: Submission,
  limits: WitnessLimits = {},
): Promise<WitnessAnswer> {
  const { checkpoint, size, proveFrom } = submission
  let oldSize = Math.min(submission.oldSize, size)
  for (let request = 1; ; request += 1) {
    const body = formatAddCheckpoint({ oldSize, proof: await proveFrom(oldSize), checkpoint })
    const answer = await post(`${witness.url}/add-checkpoint`, body, limits)
    const last = request >= maxRequests
    if (answer === undefined || answer.status >= 500) {
      if (last) return { state: 'unreachable', size: oldSize }
      await sleep(retryPauseMs)
      continue
    }
    if (answer.status === 200) return cosigned(witness, checkpoint, size, oldSize, answer.body)
    if (answer.status !== 409) return { state: refusals.get(answer.status) ?? 'bad_answer', size: oldSize }
    const theirs = sizeIn(answer.body)
    if (theirs === undefined) return { state: 'bad_answer', size: oldSize }
    if (theirs > size) return { state: 'ahead', size: theirs }
    if (theirs === size && theirs === oldSize) return { state: 'conflict', size }
    if (last) return { state: 'bad_answer', size: theirs }
    oldSize = theirs
  }
}

const refusals: ReadonlyMap<number, WitnessState> = new Map([
  [403, 'unknown_key'],
  [404, 'unknown_log'],
  [422, 'refused_proof'],
])

function cosigned(
  { key }: Witness,
  checkpoint: string,
  size: number,
  oldSize: number,
  body: string,
): WitnessAnswer {
  const text = utf8(parseNote(checkpoint).text)
  const verifier = cosignatureVerifier(key, nodeNoteCrypto)
  try {
    const ours = parseCosignatures(body).filter((signature) => isBy(signature, verifier))
    const good = ours.find(
      ({ signature }) => (cosignatureTime(signature) ?? 0) > 0 && verifier.verify(text, signature),
    )
    if (good === undefined) return { state: 'bad_cosignature', size: oldSize }
    return { state: 'cosigned', size, line: formatSignatureLine(good) }
  } catch (error) {
    if (error instanceof LogError) return { state: 'bad_answer', size: oldSize }
    throw error
  }
}

function sizeIn(body: string): number | undefined {
  try {
    return parseWitnessSize(body)
  } catch (error) {
    if (error instanceof LogError) return undefined
    throw error
  }
}

interface Posted {
  readonly status: number
  readonly body: string
}

/** @returns undefined where there was no answer, or none that ended in time and bounds */
async function post(url: string, body: string, limits: WitnessLimits): Promise<Posted | undefined> {
  const timeout = AbortSignal.timeout(limits.timeoutMs ?? defaultTimeoutMs)
  const signal = limits.signal === undefined ? timeout : AbortSignal.any([timeout, limits.signal])
  try {
    const response = await fetch(url, {
      method: 'POST',
      body,
      headers: { 'content-type': 'text/plain; charset=utf-8' },
      // A redirect would be somebody else's server: its status is an answer like any other.
      redirect: 'manual',
      signal,
    })
    return { status: response.status, body: await boundedText(response) }
  } catch {
    // Whatever the network, the timeout or the answer's form did: the operator sees `unreachable`.
    return undefined
  }
}

async function boundedText(response: Response): Promise<string> {
  const pieces: Uint8Array[] = []
  let length = 0
  const stream: ReadableStream<Uint8Array> | null = response.body
  const reader = stream?.getReader()
  for (let read = await reader?.read(); read?.done === false; read = await reader?.read()) {
    length += read.value.length
    if (length > maxAnswerBytes) {
      await reader?.cancel()
      throw new Error('the answer of a witness is too long')
    }
    pieces.push(read.value)
  }
  // What is not UTF-8 is no answer that any of the formats knows.
  return utf8Text(Buffer.concat(pieces)) ?? ''
}
