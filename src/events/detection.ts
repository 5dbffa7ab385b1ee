/**
 * An organization's detection policy over an event's free text: `flag` notes the kinds beside the field they were
 * found in (protect.ts), `redact` and `reject` act here, before anything is hashed or stored.
 *
 * Searched are the description, metadata (keys and values at any depth) and the blocks of things. Persons' blocks
 * are not: they are encrypted. Neither is the context, whose members say themselves what they hold.
 *
 * Detection flags; it never clears.
 */
import { LRUCache } from 'lru-cache'
import { AnnalsError, type FieldError } from '../errors.js'
import type { DetectionPolicy } from '../organizations/contract.js'
import type { EventInput, JsonObject, JsonValue, Party } from './contract.js'
import {
  createDetector,
  numberText,
  redactText,
  type Detector,
  type EventSearch,
} from './detectors/detector.js'
import type { DetectionPattern } from './detectors/patterns.js'
import { maxReportedErrors } from './json-check.js'

export interface OrganizationDetection {
  readonly policy: DetectionPolicy
  readonly detector: Detector
}

const builtIn = createDetector()
const maxDetectors = 1_000
/** Compiling costs a thousand times what using does, and settings are read again every few seconds. */
const detectors = new LRUCache<string, Detector>({ max: maxDetectors })
/** By the settings as they lie in the cache of organizations: no text is made for an event. */
const bySettings = new WeakMap<readonly DetectionPattern[], Detector>()

/** The detection of an organization, from its settings. */
export function detectionOf(settings: {
  readonly detection: DetectionPolicy
  readonly detectionPatterns?: readonly DetectionPattern[]
}): OrganizationDetection {
  const { detection: policy, detectionPatterns: patterns } = settings
  if (patterns === undefined || patterns.length === 0) return { policy, detector: builtIn }
  let detector = bySettings.get(patterns)
  if (detector === undefined) {
    const key = JSON.stringify(patterns.map(({ name, pattern }) => [name, pattern]))
    detector = detectors.get(key) ?? createDetector(patterns)
    detectors.set(key, detector)
    bySettings.set(patterns, detector)
  }
  return { policy, detector }
}

/** Which parties of an event are persons: their blocks are encrypted, and not searched. */
export interface Persons {
  readonly actor: boolean
  readonly targets: readonly boolean[]
}

/**
 * Applies `redact` or `reject`; `flag` leaves the event as it is.
 * @param hidden metadata keys that go into the person's block, and are not searched
 * @throws AnnalsError `invalid` with `personal_data` for each place, where the policy is `reject`
 */
export function screenEvent(
  event: EventInput,
  persons: Persons,
  hidden: ReadonlySet<string> | undefined,
  { policy, detector }: OrganizationDetection,
): EventInput {
  if (policy === 'flag') return event
  const screen = new Screen(detector.begin())
  const description =
    event.description === undefined ? undefined : screen.text(event.description, 'description')
  const metadata = screen.object(event.metadata, 'metadata', hidden)
  const actor = persons.actor ? event.actor : screen.party(event.actor, 'actor')
  const targets = event.targets.map((target, index) =>
    persons.targets[index] === true ? target : screen.party(target, `targets[${String(index)}]`),
  )
  if (screen.findings.length === 0) return event
  if (policy === 'redact') return { ...event, description, metadata, actor, targets }
  throw new AnnalsError(
    'invalid',
    "The event holds personal data in free text, and the organization's policy is reject.",
    {
      errors: screen.findings,
    },
  )
}

/** Redacts values, and collects where what was found. A path names no key in which something was found. */
class Screen {
  readonly findings: FieldError[] = []

  constructor(private readonly search: EventSearch) {}

  text(text: string, path: string): string {
    const findings = this.search.find(text)
    if (findings.length === 0) return text
    for (const kind of new Set(findings.map((finding) => finding.kind))) {
      if (this.findings.length < maxReportedErrors)
        this.findings.push({ path, code: 'personal_data', message: kind })
    }
    return redactText(text, findings)
  }

  object(object: JsonObject, path: string, hidden?: ReadonlySet<string>): JsonObject {
    const redacted: JsonObject = {}
    for (const key of Object.keys(object)) {
      const value = object[key] ?? null
      if (hidden?.has(key) === true) {
        redacted[key] = value
        continue
      }
      const shown = freeKey(this.text(key, path), object, redacted, key)
      redacted[shown] = this.value(value, `${path}.${shown}`)
    }
    return redacted
  }

  value(value: JsonValue, path: string): JsonValue {
    if (typeof value === 'string') return this.text(value, path)
    if (typeof value === 'number') {
      const text = numberText(value)
      const redacted = text === undefined ? undefined : this.text(text, path)
      return redacted === text ? value : (redacted ?? value)
    }
    if (Array.isArray(value)) return value.map((item, index) => this.value(item, `${path}[${String(index)}]`))
    return typeof value === 'object' && value !== null ? this.object(value, path) : value
  }

  party(party: Party, path: string): Party {
    const { type, id, name, email, metadata } = party
    return {
      type,
      ...(id === undefined ? {} : { id: this.text(id, `${path}.id`) }),
      ...(name === undefined ? {} : { name: this.text(name, `${path}.name`) }),
      ...(email === undefined ? {} : { email: this.text(email, `${path}.email`) }),
      ...(metadata === undefined ? {} : { metadata: this.object(metadata, `${path}.metadata`) }),
    }
  }
}

/** Two keys may redact to the same: the later one is numbered. */
function freeKey(wanted: string, original: JsonObject, taken: JsonObject, key: string): string {
  if (wanted === key) return key
  let free = wanted
  for (let number = 2; Object.hasOwn(taken, free) || Object.hasOwn(original, free); number += 1)
    free = `${wanted} ${String(number)}`
  return free
}
