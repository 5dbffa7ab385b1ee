/**
 * What may not go yet (keeping.ts) and lies in the archive: the content of its segments is written anew with the person's
 * blocks of such events under the request's key, and read back from there.
 */
import type { Hold } from '../retention/contract.js'
import { eventIdOf, type StoredEvent, type StoredField } from '../events/store.js'
import type { ArchivedContent, TileLines } from './archived-content.js'
import { NotKeptError, opensKept, resealed, type Keeping } from './keeping.js'
import type { FieldName } from './manifests.js'
import { isExempt, subjectsIn } from './text-search.js'

/** Does a tile name one of the subjects? A reference stands in it as it is. */
export function namesAny(subjects: readonly string[]): (tile: TileLines) => boolean {
  const names = subjects.map((subject) => Buffer.from(`"subject":"${subject}"`))
  return ({ lines }) => names.some((name) => lines.includes(name))
}

const holdsRestricted = (requestId: string): ((tile: TileLines) => boolean) => {
  const name = Buffer.from(`"restricted":"${requestId}"`)
  return ({ lines }) => lines.includes(name)
}

/** Is everything held that names these subjects in the archive? undefined where nothing names them. */
export async function allArchivedHeld(
  archived: ArchivedContent,
  {
    organizationId,
    subjects,
    holds,
  }: {
    readonly organizationId: string
    readonly subjects: readonly string[]
    readonly holds: readonly Hold[]
  },
  beat: () => void,
): Promise<boolean | undefined> {
  if (holds.length === 0 || subjects.length === 0) return undefined
  const wanted = new Set(subjects)
  const picking = {
    concerns: namesAny(subjects),
    of: ({ event }: { readonly event: StoredEvent }) =>
      subjectsIn(event).some((subject) => wanted.has(subject)) ? [isExempt(event, [], holds)] : [],
  }
  let any: true | undefined
  for await (const held of archived.pick(organizationId, picking, beat)) {
    if (held.includes(false)) return false
    any = true
  }
  return any
}

/** Encrypts anew what is kept in archived content. @throws KeyError; TargetError */
export async function keepArchived(archived: ArchivedContent, keeping: Keeping): Promise<void> {
  const { organizationId, opened, exempt, holds, beat } = keeping
  if ((exempt.length === 0 && holds.length === 0) || opened.length === 0) return
  // The hot rows are as they stay: what the archiver read before they were is not recorded any more.
  await archived.closeBehind(organizationId)
  const change = {
    concerns: namesAny(opened.map(({ reference }) => reference)),
    apply: (leaves: readonly { readonly event: StoredEvent }[]) =>
      leaves.map(({ event }) => (isExempt(event, exempt, holds) ? keptIn(event, keeping) : event)),
  }
  await archived.change(organizationId, change, { beat })
}

/** The same object where it has nothing to keep. */
function keptIn(event: StoredEvent, keeping: Keeping): StoredEvent {
  const fields = event.fields.map((field): StoredField => {
    const kept = resealed(keeping, eventIdOf(event._id), field)
    if (kept === undefined || !('subject' in field)) return field
    const { slot, subject, subjectSalt, commitment } = field
    return { slot, subject, subjectSalt, sealed: kept, commitment, restricted: keeping.requestId }
  })
  return fields.every((field, position) => field === event.fields[position]) ? event : { ...event, fields }
}

/** Every block that is kept in archived content, each opened and held against its commitment. @throws NotKeptError */
export async function readArchivedKept(
  archived: ArchivedContent,
  reading: Pick<Keeping, 'organizationId' | 'requestId' | 'restrictedKey' | 'beat'>,
): Promise<FieldName[]> {
  const { organizationId, requestId, restrictedKey, beat } = reading
  const picking = {
    concerns: holdsRestricted(requestId),
    of({ event }: { readonly event: StoredEvent }): readonly FieldName[] {
      const eventId = eventIdOf(event._id)
      return event.fields.flatMap((field) => {
        if (!('subject' in field) || field.restricted !== requestId) return []
        if (!opensKept(field, restrictedKey, organizationId, eventId))
          throw new NotKeptError('a block that is kept does not read back')
        return [{ eventId, slot: field.slot }]
      })
    },
  }
  const kept: FieldName[] = []
  for await (const some of archived.pick(organizationId, picking, beat)) kept.push(...some)
  return kept
}
