/**
 * Does a text name whom a request is about? Asked of words that stay when the person is gone: the identifiers of the
 * request, those that its erasing found in the directory, and whatever a detector takes for personal data.
 */
import { createDetector } from '../events/detectors/detector.js'
import type { OrganizationKeyset } from '../keys/organization-keys.js'
import type { PeriodKeys } from '../keys/period-keys.js'
import { searchedBy } from './begun.js'
import { createTextMatcher } from './matching.js'
import type { ErasureProgress } from './progress.js'
import { openPrivatePart, openRequestKey } from './sealed.js'
import type { ErasureRequestDocument } from './store.js'

const detector = createDetector()

export interface NamingDependencies {
  readonly periods: PeriodKeys
  readonly progress: Pick<ErasureProgress, 'find'>
}

/** @throws KeyError */
export async function namesSomebody(
  { periods, progress }: NamingDependencies,
  keyset: OrganizationKeyset,
  document: ErasureRequestDocument,
  text: string,
): Promise<boolean> {
  if (detector.begin().find(text).length > 0) return true
  const { key, sealed } = document
  if (key === null || sealed === null) return false
  const begun = await progress.find(document)
  await periods.ensure([key.period, ...(begun?.workKey === undefined ? [] : [begun.workKey.period])])
  const { identifiers } = openPrivatePart(openRequestKey(keyset, periods, document, key), document, sealed)
  const known = begun?.workKey === undefined ? [] : searchedBy(periods, document, keyset, begun).searched
  return createTextMatcher([...identifiers, ...known]).find(JSON.stringify(text)).length > 0
}
