/**
 * Signing keys: Ed25519, one row of them for each purpose, numbered from 1.
 *
 * Checkpoints, the anchor log, manifests and certificates are signed by different keys, so that a signature made for
 * one can never pass for another. A seed lies in MongoDB wrapped under the root key. A rotation makes the next number; the
 * one before signs along until `signsUntil`, so that whoever has not fetched the new key yet can still verify, and
 * is published for ever after: what it signed stays verifiable.
 */
import { randomBytes, type KeyObject } from 'node:crypto'
import type { ClientSession, Collection, Db } from 'mongodb'
import { collectionNames } from '../mongo/collections.js'
import { isDuplicateKey } from '../mongo/unavailable.js'
import type { RootKey } from './root-key.js'
import { KeyError } from './wrapping.js'

export const signingPurposes = ['checkpoint', 'anchor', 'manifest', 'certificate'] as const
export type SigningPurpose = (typeof signingPurposes)[number]

/** Ed25519 as the keys need it: a seed of 32 bytes to a pair. */
export interface SigningPair {
  /** 32 bytes. */
  readonly publicKey: Uint8Array
  /** For libraries that sign by themselves. */
  readonly privateKey: KeyObject
  /** 64 bytes. */
  sign(message: Uint8Array): Uint8Array
}

export interface SigningKey {
  readonly purpose: SigningPurpose
  /** From 1; the highest is the newest. */
  readonly number: number
  readonly pair: SigningPair
  readonly createdAt: Date
  /** Signs along until then, beside the newer one; null = it is the newest. */
  readonly signsUntil: Date | null
}

export interface SigningKeys {
  /** Makes the first key of every purpose; changes nothing where there is one. */
  ensure(): Promise<void>
  /**
   * Every key of a purpose, newest first: what verifies. Those that still sign are the first one, and the others
   * whose `signsUntil` lies ahead. At most 5 s old.
   * @throws KeyError `signing_key_missing` before `ensure`
   */
  all(purpose: SigningPurpose): Promise<readonly SigningKey[]>
  /** The keys that sign now, newest first. @throws KeyError as `all` */
  signing(purpose: SigningPurpose): Promise<readonly SigningKey[]>
  /**
   * Makes the next key of a purpose; the one before signs along for `overlapMs`.
   * @param session the caller's transaction, so that the event about it and the key are one
   * @returns the number of the new key
   */
  rotate(purpose: SigningPurpose, overlapMs: number, session: ClientSession): Promise<number>
}

interface SigningKeyDocument {
  /** `<purpose>/<number>` */
  readonly _id: string
  readonly purpose: SigningPurpose
  readonly number: number
  readonly rootKeyId: string
  readonly seed: Buffer
  readonly createdAt: Date
  readonly signsUntil: Date | null
}

export interface SigningKeyDependencies {
  readonly db: Db
  readonly root: RootKey
  readonly importSeed: (seed: Uint8Array) => SigningPair
  readonly now?: () => Date
}

const seedBytes = 32
const maxAgeMs = 5_000
const documentId = (purpose: SigningPurpose, number: number) => `${purpose}/${String(number)}`
const wrapPurpose = (id: string) => `annals/signing/v1/${id}`

export function createSigningKeys({
  db,
  root,
  importSeed,
  now = () => new Date(),
}: SigningKeyDependencies): SigningKeys {
  const documents: Collection<SigningKeyDocument> = db.collection(collectionNames.signingKeys)
  const pairs = new Map<string, SigningPair>()
  const cached = new Map<
    SigningPurpose,
    { readonly keys: readonly SigningKey[]; readonly readAtMs: number }
  >()

  async function newDocument(purpose: SigningPurpose, number: number): Promise<SigningKeyDocument> {
    const _id = documentId(purpose, number)
    const seed = await root.wrap(randomBytes(seedBytes), wrapPurpose(_id))
    return { _id, purpose, number, rootKeyId: root.id, seed, createdAt: now(), signsUntil: null }
  }

  async function open(document: SigningKeyDocument): Promise<SigningKey> {
    const { _id, purpose, number, createdAt, signsUntil, rootKeyId, seed } = document
    let pair = pairs.get(_id)
    if (pair === undefined) {
      if (rootKeyId !== root.id) {
        throw new KeyError('wrong_root_key', `signing key ${_id} needs root key ${rootKeyId}, not ${root.id}`)
      }
      pair = importSeed(await root.unwrap(seed, wrapPurpose(_id)))
      pairs.set(_id, pair)
    }
    return { purpose, number, pair, createdAt, signsUntil }
  }

  async function all(purpose: SigningPurpose): Promise<readonly SigningKey[]> {
    const known = cached.get(purpose)
    const readAtMs = performance.now()
    if (known !== undefined && readAtMs - known.readAtMs < maxAgeMs) return known.keys
    const found = await documents.find({ purpose }, { sort: { number: -1 } }).toArray()
    if (found.length === 0) {
      throw new KeyError(
        'signing_key_missing',
        `there is no signing key for ${purpose}: run \`annals setup\` first`,
      )
    }
    const keys = await Promise.all(found.map(open))
    cached.set(purpose, { keys, readAtMs })
    return keys
  }

  return {
    async ensure() {
      for (const purpose of signingPurposes) {
        if ((await documents.findOne({ purpose })) !== null) continue
        try {
          await documents.insertOne(await newDocument(purpose, 1))
        } catch (error) {
          // Another setup was quicker.
          if (!isDuplicateKey(error)) throw error
        }
      }
    },
    all,
    async signing(purpose) {
      const keys = await all(purpose)
      const at = now()
      return keys.filter(({ signsUntil }, index) => index === 0 || (signsUntil !== null && signsUntil > at))
    },
    async rotate(purpose, overlapMs, session) {
      const newest = await documents.findOne({ purpose }, { sort: { number: -1 }, session })
      if (newest === null) throw new KeyError('signing_key_missing', `there is no signing key for ${purpose}`)
      const signsUntil = new Date(now().getTime() + overlapMs)
      await documents.updateOne({ _id: newest._id }, { $set: { signsUntil } }, { session })
      // Of two rotations at once, one fails by the id: no number is given twice.
      await documents.insertOne(await newDocument(purpose, newest.number + 1), { session })
      cached.delete(purpose)
      return newest.number + 1
    },
  }
}
