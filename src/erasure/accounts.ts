/**
 * Why values of an event are not there any more, for its receipt: the sealed events that account for them, each with its
 * receipt and the manifest that it names, so that the receipt shows it offline. It is looked for and nobody's word: who
 * reads the receipt checks it (verification/receipt-accounts.ts).
 */
import { eventReceipt, type EventReceiptDependencies } from '../archive/event-receipt.js'
import type { JsonObject } from '../events/contract.js'
import type { VerifiableEvent } from '../events/verifiable.js'
import { redactionManifestPath } from '../redaction/manifest.js'
import type { RedactionStore } from '../redaction/store.js'
import { subjectDocumentId, type SubjectStore } from '../subjects/store.js'
import type { ErasureLedger } from './ledger.js'
import { manifestPath, releasedManifestPath } from './manifests.js'
import type { ErasureProgress } from './progress.js'

/** `{receipt, manifest}`: as `GET …/events/:id/proof?view=verifiable` answers, without the anchor log; a JSON text. */
export type Account = JsonObject

export interface EventAccounts {
  /**
   * What accounts for the values that an event has not any more; nothing where all are there.
   * @throws ArchiveStoreError where the ledger cannot be read; AnnalsError `log_damaged`
   */
  accounts(organizationId: string, event: VerifiableEvent): Promise<readonly Account[]>
}

export interface EventAccountsDependencies extends EventReceiptDependencies {
  readonly subjects: SubjectStore['subjects']
  readonly progress: Pick<ErasureProgress, 'find' | 'ofSubjectsFirst'>
  readonly redactions: Pick<RedactionStore, 'redacting'>
  readonly ledger: Pick<ErasureLedger, 'manifest'>
}

/** A sealed event, and where the manifest lies that it names. */
interface Candidate {
  readonly eventId: string | undefined
  readonly path: string
}

interface Gone {
  readonly slot: string
  readonly subject: string | undefined
}

/** Erasures whose texts are looked through for one event: those of its own persons first, then the newest. */
const maxErasures = 200
/** What the manifests of one receipt may come to; where they are more, the log is to be verified as a whole. */
const maxManifestBytes = 16 * 1024 * 1024

export function createEventAccounts(deps: EventAccountsDependencies): EventAccounts {
  const { subjects, progress, redactions, ledger } = deps

  /** Of persons: the erasure that fenced the subject. */
  async function* ofPersons(organizationId: string, gone: readonly Gone[]): AsyncGenerator<Candidate> {
    for (const subject of new Set(gone.flatMap((one) => one.subject ?? []))) {
      const document = await subjects.findOne({ _id: subjectDocumentId(organizationId, subject) })
      if (document?.erasure === undefined) continue
      const request = { organizationId, requestId: document.erasure }
      const begun = await progress.find(request)
      yield { eventId: begun?.startedEventId, path: manifestPath(request, 'subjects') }
    }
  }

  async function* ofRedactions(organizationId: string, eventId: string): AsyncGenerator<Candidate> {
    for (const redaction of await redactions.redacting(organizationId, eventId))
      yield { eventId: redaction.eventId ?? undefined, path: redactionManifestPath(redaction) }
  }

  /** Of text, which may name a person whom the event is not about. */
  async function* ofTexts(organizationId: string, event: VerifiableEvent): AsyncGenerator<Candidate> {
    const named = fieldsOf(event).flatMap(({ subject }) => (typeof subject === 'string' ? [subject] : []))
    for await (const erasure of progress.ofSubjectsFirst(organizationId, named, maxErasures)) {
      yield { eventId: erasure.erasedEventId, path: manifestPath(erasure, 'text') }
      // What it had to keep, and went later.
      for (const { eventId, manifest } of erasure.releases ?? [])
        yield { eventId, path: releasedManifestPath(erasure, manifest) }
    }
  }

  return {
    async accounts(organizationId, event) {
      const { id } = event
      if (typeof id !== 'string') return []
      const eventId: string = id
      const waiting = new Map(goneOf(event).map((gone) => [gone.slot, gone]))
      const found: Account[] = []
      let bytes = 0

      async function look(candidates: AsyncIterable<Candidate>): Promise<void> {
        if (waiting.size === 0) return
        for await (const { eventId: sealed, path } of candidates) {
          const read = sealed === undefined ? undefined : await ledger.manifest(path)
          if (sealed === undefined || read === undefined || bytes + read.length > maxManifestBytes) continue
          const covered = coveredBy(read, eventId, waiting)
          const receipt = covered.length === 0 ? undefined : await eventReceipt(deps, organizationId, sealed)
          if (receipt === undefined) continue
          found.push({ receipt, manifest: read.toString('utf8') })
          bytes += read.length
          for (const slot of covered) waiting.delete(slot)
          if (waiting.size === 0) return
        }
      }

      await look(ofPersons(organizationId, [...waiting.values()]))
      await look(ofRedactions(organizationId, eventId))
      await look(ofTexts(organizationId, event))
      return found
    },
  }
}

const fieldsOf = (event: VerifiableEvent): readonly JsonObject[] => {
  const { fields } = event
  return Array.isArray(fields)
    ? fields.flatMap((field) =>
        typeof field === 'object' && field !== null && !Array.isArray(field) ? [field] : [],
      )
    : []
}

const goneOf = (event: VerifiableEvent): Gone[] =>
  fieldsOf(event).flatMap(({ slot, subject, value, withheld }) =>
    typeof slot === 'string' && value === undefined && withheld !== true
      ? [{ slot, subject: typeof subject === 'string' ? subject : undefined }]
      : [],
  )

/** Slots of the event that the manifest is about. */
function coveredBy(manifest: Buffer, eventId: string, waiting: ReadonlyMap<string, Gone>): string[] {
  const named = manifest.includes(`["${eventId}",`)
  const persons = [...waiting.values()].filter(
    ({ slot, subject }) =>
      subject !== undefined &&
      manifest.includes(`"${subject}"`) &&
      // Not one that it had to keep.
      !manifest.includes(`["${eventId}",${JSON.stringify(slot)}]`),
  )
  if (!named) return persons.map(({ slot }) => slot)
  return [...waiting.keys()].filter(
    (slot) =>
      persons.some((one) => one.slot === slot) || manifest.includes(`["${eventId}",${JSON.stringify(slot)},`),
  )
}
