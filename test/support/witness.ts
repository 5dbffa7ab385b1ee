/**
 * A small witness, as C2SP tlog-witness has it: keeps the largest tree it has seen of each log it knows, cosigns what is
 * consistent with it, and refuses the rest. It shares the formats with the product and none of the logic under test.
 */
import { randomBytes } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { openCheckpoint } from '../../src/transparency-log/checkpoint.js'
import { cosignatureSigner } from '../../src/transparency-log/cosignature.js'
import { utf8 } from '../../src/transparency-log/encoding.js'
import { LogError } from '../../src/transparency-log/errors.js'
import { equalHashes } from '../../src/transparency-log/hash.js'
import { nodeHasher, nodeNoteCrypto, sha256 } from '../../src/transparency-log/node-crypto.js'
import { formatSignatureLine, parseNote } from '../../src/transparency-log/note.js'
import {
  ed25519Verifier,
  formatVerifierKey,
  verifierKey,
  type VerifierKey,
} from '../../src/transparency-log/note-key.js'
import { checkTree } from '../../src/transparency-log/proof.js'
import { parseAddCheckpoint } from '../../src/transparency-log/witness-message.js'

export interface Witness {
  readonly key: VerifierKey
  readonly url: string
  /** As `ANNALS_WITNESS_URLS` has it. */
  readonly setting: string
  /** Status of every answer, in order. */
  readonly answers: number[]
  /** Trusts a log by its origin and keys. */
  trust(origin: string, keys: readonly VerifierKey[]): void
  /** The tree it has seen of a log. */
  seen(origin: string): { readonly size: number; readonly root: Uint8Array } | undefined
  /** Answers in this way from now on; undefined = as it should. */
  behave(how: Misbehaviour | undefined): void
  stop(): Promise<void>
  start(): Promise<void>
}

/** Returns true where it has answered. */
export type Misbehaviour = (request: IncomingMessage, response: ServerResponse, body: string) => boolean

interface Answer {
  readonly status: number
  readonly type?: string
  readonly body: string
}

export async function startWitness(
  name: string,
  now = () => Math.floor(Date.now() / 1_000),
): Promise<Witness> {
  const pair = nodeNoteCrypto.importSeed(randomBytes(32))
  const key = verifierKey(name, 'cosignature', pair.publicKey, sha256)
  const signer = cosignatureSigner(name, pair, sha256, now)
  const logs = new Map<string, readonly VerifierKey[]>()
  const trees = new Map<string, { size: number; root: Uint8Array }>()
  const answers: number[] = []
  let misbehaviour: Misbehaviour | undefined
  let server: Server | undefined
  let port = 0

  function add(body: string): Answer {
    const { oldSize, proof, checkpoint } = parseAddCheckpoint(body)
    const { text } = parseNote(checkpoint)
    const origin = text.split('\n')[0] ?? ''
    const keys = logs.get(origin)
    if (keys === undefined) return { status: 404, body: 'unknown log\n' }
    const logKeys = keys.map((one) => ed25519Verifier(one, nodeNoteCrypto))
    let tree: { size: number; root: Uint8Array }
    try {
      tree = openCheckpoint(checkpoint, { origin, logKeys })
    } catch (error) {
      if (error instanceof LogError) return { status: 403, body: 'no known key has signed\n' }
      throw error
    }
    if (oldSize > tree.size) return { status: 400, body: 'the old size is larger\n' }
    const seen = trees.get(origin) ?? { size: 0, root: sha256(new Uint8Array()) }
    if (oldSize !== seen.size)
      return { status: 409, type: 'text/x.tlog.size', body: `${String(seen.size)}\n` }
    if (seen.size === tree.size && !equalHashes(seen.root, tree.root)) {
      return { status: 409, type: 'text/x.tlog.size', body: `${String(seen.size)}\n` }
    }
    try {
      const claim = { oldSize, oldRoot: seen.root, newSize: tree.size, newRoot: tree.root }
      checkTree(proof, claim, nodeHasher)
    } catch (error) {
      if (error instanceof LogError) return { status: 422, body: 'the proof does not hold\n' }
      throw error
    }
    trees.set(origin, { size: tree.size, root: tree.root })
    const signature = { name: signer.name, keyId: signer.keyId, signature: signer.sign(utf8(text)) }
    return { status: 200, body: `${formatSignatureLine(signature)}\n` }
  }

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const pieces: Buffer[] = []
    for await (const piece of request as AsyncIterable<Buffer>) pieces.push(piece)
    const body = Buffer.concat(pieces).toString()
    if (misbehaviour?.(request, response, body) === true) return
    const known = request.method === 'POST' && request.url === '/prefix/add-checkpoint'
    const answer = known ? add(body) : { status: 404, body: 'nothing here\n' }
    answers.push(answer.status)
    response.writeHead(answer.status, { 'content-type': answer.type ?? 'text/plain' }).end(answer.body)
  }

  async function start(): Promise<void> {
    const made = createServer((request, response) => {
      handle(request, response).catch(() => response.writeHead(400).end())
    })
    await new Promise<void>((resolve) => made.listen(port, '127.0.0.1', resolve))
    const address = made.address()
    if (address === null || typeof address === 'string') throw new Error('a TCP server has a TCP address')
    port = address.port
    server = made
  }

  async function stop(): Promise<void> {
    server?.closeAllConnections()
    await new Promise((resolve) => (server === undefined ? resolve(undefined) : server.close(resolve)))
    server = undefined
  }

  await start()
  const url = `http://127.0.0.1:${String(port)}/prefix`
  return {
    key,
    url,
    setting: `${formatVerifierKey(key)} ${url}/`,
    answers,
    trust: (origin, keys) => void logs.set(origin, keys),
    seen: (origin) => trees.get(origin),
    behave: (how) => (misbehaviour = how),
    start,
    stop,
  }
}
