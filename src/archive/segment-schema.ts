/** A segment as an answer carries it: what is where, how much, in which state. Pure, but for Zod. */
import { z } from 'zod'
import { pageQuery, pageSchema } from '../http/list.js'
import type { SegmentDocument } from './contract.js'

const time = z.string().meta({ format: 'date-time' })

const objectShape = {
  path: z.string(),
  bytes: z.int(),
  sha256: z.string(),
  manifestPath: z.string(),
  manifestSha256: z.string(),
}

export const segmentViewSchema = z
  .object({
    organizationId: z.string(),
    generation: z.int(),
    from: z.int().meta({ description: 'First leaf.' }),
    to: z.int().meta({ description: 'The leaf after the last.' }),
    leaves: z.int(),
    damaged: z
      .int()
      .meta({ description: 'Leaves whose event was damaged, or gone, when they were archived.' }),
    sealedFrom: time,
    sealedTo: time,
    occurredFrom: time,
    occurredTo: time,
    hotBytes: z.int().meta({ description: 'What the events took up in the hot store.' }),
    archivedBytes: z.int().meta({ description: 'What the segment takes up in the archive.' }),
    records: z.object(objectShape).nullable().meta({
      description:
        'The records, or the leaves in their place once some have expired; the manifest is that of all.',
    }),
    content: z
      .object({ ...objectShape, state: z.enum(['kept', 'reduced', 'expired']), revision: z.int() })
      .nullable()
      .meta({ description: 'null: expired. `reduced`: what is held, and what never expires, is left.' }),
    archivedAt: time,
    hotDeletedAt: time.nullable().meta({ description: 'null: it is being deleted from the hot store.' }),
    contentExpiredAt: time.nullable(),
    recordsExpiredAt: time.nullable(),
    recordsLockedUntil: time
      .nullable()
      .meta({ description: 'They are due, and the archive lets nobody delete them before.' }),
  })
  .meta({ id: 'Segment' })
export type SegmentView = z.infer<typeof segmentViewSchema>

export const segmentListSchema = pageSchema(segmentViewSchema).meta({ id: 'SegmentPage' })
export const listSegmentsSchema = z.strictObject({ ...pageQuery })
export const segmentPositionSchema = z.strictObject({ generation: z.int(), index: z.int() })

/** Without the members, which no answer shows. */
export const segmentViewProjection = { 'records.file.members': 0, 'content.file.members': 0 } as const

const text = (moment: Date | null | undefined) => moment?.toISOString() ?? null

export function segmentView(segment: SegmentDocument): SegmentView {
  const { records, content } = segment
  return {
    organizationId: segment.organizationId,
    generation: segment.generation,
    from: segment.from,
    to: segment.to,
    leaves: segment.leaves,
    damaged: segment.damaged,
    sealedFrom: segment.sealedFrom.toISOString(),
    sealedTo: segment.sealedTo.toISOString(),
    occurredFrom: segment.occurredFrom.toISOString(),
    occurredTo: segment.occurredTo.toISOString(),
    hotBytes: segment.hotBytes,
    archivedBytes: (records?.file.bytes ?? 0) + (content?.file.bytes ?? 0),
    records: records === null ? null : objectView(records),
    content:
      content === null ? null : { ...objectView(content), state: content.state, revision: content.revision },
    archivedAt: segment.archivedAt.toISOString(),
    hotDeletedAt: text(segment.hotDeletedAt),
    contentExpiredAt: text(segment.contentExpiredAt),
    recordsExpiredAt: text(segment.recordsExpiredAt),
    recordsLockedUntil: text(segment.recordsLockedUntil),
  }
}

type StoredPart = Pick<NonNullable<SegmentDocument['records']>, 'file' | 'manifestPath' | 'manifestSha256'>

const objectView = ({ file, manifestPath, manifestSha256 }: StoredPart) => ({
  path: file.path,
  bytes: file.bytes,
  sha256: file.sha256,
  manifestPath,
  manifestSha256,
})
