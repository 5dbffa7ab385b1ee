/** What a redaction took out does not come back from the archive: a restore that read it before strips it here. */
import type { ErasedContent } from '../archive/restores/erased-content.js'
import { eventIdOf } from '../events/store.js'
import { withoutFields } from './fields.js'
import type { RedactionStore } from './store.js'

/** Strips what was redacted, too. */
export function withRedactions(
  erased: ErasedContent,
  redactions: Pick<RedactionStore, 'removedFrom'>,
): ErasedContent {
  return {
    async strip(organizationId, events) {
      const eventIds = events.map(({ _id }) => eventIdOf(_id))
      const removed = await redactions.removedFrom(organizationId, eventIds)
      const stripped = await erased.strip(organizationId, events)
      return removed.length === 0 ? stripped : stripped.map((event) => withoutFields(event, removed))
    },
  }
}
