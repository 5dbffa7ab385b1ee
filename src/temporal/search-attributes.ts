/**
 * The search attributes that an operator filters workflows by in Temporal UI. Temporal keeps them in clear: no
 * personal value may ever stand in one.
 */
import { defineSearchAttributeKey, type SearchAttributeType } from '@temporalio/common'

export const organizationAttribute = defineSearchAttributeKey('AnnalsOrganization', 'KEYWORD')
/** What the workflow is about: `scan`, `seal`, `retention`, `erasure`. */
export const kindAttribute = defineSearchAttributeKey('AnnalsKind', 'KEYWORD')
/** Where it stands, in the words of its kind. */
export const phaseAttribute = defineSearchAttributeKey('AnnalsPhase', 'KEYWORD')
/** When somebody must look at it at the latest. */
export const deadlineAttribute = defineSearchAttributeKey('AnnalsDeadline', 'DATETIME')

export const searchAttributes: readonly { readonly name: string; readonly type: SearchAttributeType }[] = [
  organizationAttribute,
  kindAttribute,
  phaseAttribute,
  deadlineAttribute,
]
