/** What an event must pass before it is protected: the schema of its action, and its organization's detection policy. */
import { AnnalsError } from '../errors.js'
import { isPersonActor, isPersonTarget } from '../subjects/policy.js'
import type { ActionRule, EventInput } from './contract.js'
import { screenEvent, type OrganizationDetection, type Persons } from './detection.js'
import type { EventSearch } from './detectors/detector.js'

export interface Screened {
  /** As it will be stored. */
  readonly event: EventInput
  readonly persons: Persons
  /** Set where what is detected is only noted. */
  readonly search: EventSearch | undefined
  readonly personalKeys: ReadonlySet<string> | undefined
}

/**
 * Screens one event.
 * @param rule of the event's action; undefined where it has none
 * @throws AnnalsError `invalid`, naming each place
 */
export function screen(
  event: EventInput,
  organization: { readonly personTypes: readonly string[]; readonly detection: OrganizationDetection },
  rule: ActionRule | undefined,
): Screened {
  const { detection, personTypes } = organization
  const errors = rule?.check(event) ?? []
  if (errors.length > 0)
    throw new AnnalsError('invalid', "The event does not fit its action's schema; see errors.", { errors })
  const persons = personsOf(event, personTypes)
  const personalKeys = persons.actor ? rule?.personalKeys : undefined
  // Annals' own events must be written whatever a client's text in them holds; it is noted there.
  if (detection.policy === 'flag' || event.category === 'system')
    return { event, persons, personalKeys, search: detection.detector.begin() }
  const screened = screenEvent(event, persons, personalKeys, detection)
  return { event: screened, persons, personalKeys, search: undefined }
}

function personsOf({ actor, targets }: EventInput, personTypes: readonly string[]): Persons {
  return {
    actor: isPersonActor(actor.type),
    targets: targets.map(
      ({ type, id, email }) => isPersonTarget(type, personTypes) && (id !== undefined || email !== undefined),
    ),
  }
}
