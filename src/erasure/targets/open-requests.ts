/**
 * Open requests about other persons, whose requester, channel, recipients or notes name this one: such words go, and the
 * request goes on. Identifiers stay: they are what the other request is about, and go when it ends.
 */
import type { Db } from 'mongodb'
import { collectionNames } from '../../mongo/collections.js'
import type { PeriodKeys } from '../../keys/period-keys.js'
import {
  openPrivatePart,
  openRequestKey,
  openWords,
  sealPrivatePart,
  sealWords,
  type PrivatePart,
  type Words,
} from '../sealed.js'
import type { ErasureActionDocument, ErasureRequestDocument } from '../store.js'
import type { ErasureTarget, ErasureWork } from './contract.js'

/** What stands there afterwards. */
const erased = 'erased'

/** A text of another request that names the person, and what takes it out. */
type TakeOut = () => Promise<unknown>

export function openRequests(db: Db, periods: PeriodKeys): ErasureTarget {
  const requests = db.collection<ErasureRequestDocument>(collectionNames.erasureRequests)
  const actions = db.collection<ErasureActionDocument>(collectionNames.erasureActions)

  async function* naming(work: ErasureWork): AsyncGenerator<TakeOut> {
    const { organizationId, requestId, keyset, beat } = work
    const others = { organizationId, key: { $ne: null }, requestId: { $ne: requestId } }
    for await (const document of requests.find(others)) {
      beat()
      const { _id, key: wrapped, sealed, words } = document
      if (wrapped === null || sealed === null) continue
      await periods.ensure([wrapped.period])
      const key = openRequestKey(keyset, periods, document, wrapped)

      const part = openPrivatePart(key, document, sealed)
      const rest = withoutPerson(part, work)
      // Against the bytes that were read: a request that ended meanwhile has none, and is given none.
      if (rest !== part)
        yield () =>
          requests.updateOne(
            { _id, sealed },
            { $set: { sealed: sealPrivatePart(key, document, rest), bodyFingerprint: null } },
          )

      // First where they come from: what is decided from now on copies what is left.
      const asked = { organizationId, requestId: document.requestId, sealedWords: { $ne: null } }
      for await (const { _id: id, actionId, sealedWords } of actions.find(asked)) {
        const after = sealedWords && resealed(key, document, actionId, sealedWords, work)
        if (after) yield () => actions.updateOne({ _id: id, sealedWords }, { $set: { sealedWords: after } })
      }
      for (const { actionId, sealed: before } of words) {
        const after = resealed(key, document, actionId, before, work)
        if (after !== undefined)
          yield () =>
            requests.updateOne(
              { _id },
              { $set: { 'words.$[one].sealed': after } },
              { arrayFilters: [{ 'one.actionId': actionId, 'one.sealed': before }] },
            )
      }
    }
  }

  async function each(work: ErasureWork, takeOut: (one: TakeOut) => Promise<unknown>): Promise<number> {
    let items = 0
    for await (const one of naming(work)) {
      await takeOut(one)
      items += 1
    }
    return items
  }
  const count = (work: ErasureWork) => each(work, () => Promise.resolve())

  return {
    name: 'open_requests',
    collections: [collectionNames.erasureRequests, collectionNames.erasureActions],
    scope: count,
    erase: (work) => each(work, (takeOut) => takeOut()),
    verify: count,
  }
}

/** The same object where nothing names the person. */
function withoutPerson(part: PrivatePart, work: ErasureWork): PrivatePart {
  const { requester, channel, recipients } = part
  const named = [requester, channel, ...recipients.map(({ name }) => name)]
  if (!named.some((text) => names(text, work))) return part
  return {
    ...part,
    requester: without(requester, work),
    channel: without(channel, work),
    recipients: recipients.map(({ name, url }) => ({ name: without(name, work), url })),
  }
}

/** undefined where nothing names the person. */
function resealed(
  key: Buffer,
  request: ErasureRequestDocument,
  actionId: string,
  sealed: Buffer,
  work: ErasureWork,
): Buffer | undefined {
  const words = openWords(key, request, actionId, sealed)
  if (!Object.values(words).some((text) => names(text, work))) return undefined
  const rest: Words = Object.fromEntries(
    Object.entries(words).map(([name, text]) => [name, without(text, work)]),
  )
  return sealWords(key, request, actionId, rest)
}

const names = (text: string, { matcher }: ErasureWork) => matcher.find(JSON.stringify(text)).length > 0
const without = (text: string, work: ErasureWork) => (names(text, work) ? erased : text)
