/**
 * What an erasure request is, in words that HTTP, the workflow, the activities and every target share. Pure: this file
 * runs in the workflow sandbox.
 *
 * The request (state-machine.ts, deadlines.ts, service.ts) decides *whether* and *when*; the erasing steps decide *how*.
 * They meet in `ErasingActivities`: each step is one activity that gets the request's id and nothing else, reads what it
 * needs through `ErasureRequests`, writes its report there, and answers a few words. Nothing personal is in a payload.
 */

/** Published names: other programs may use them, so they never change. */
export const erasureWorkflowType = 'erasure'
export const erasureTaskQueue = 'annals-erasure'
export const stateQuery = 'state'
/** No payload: a hold of the organization was released, so that a request that waits for one may look again. */
export const holdReleasedSignal = 'annals.erasure.hold_released'

export const erasureIdPattern = /^erasure_[0-7][0-9a-hjkmnp-tv-z]{25}$/

/** The id of a request's workflow: readable in Temporal UI, free of anything personal. */
export function erasureWorkflowId(organizationId: string, requestId: string): string {
  return `erasure/${organizationId}/${requestId}`
}

/** Which request: all that a payload ever says about it. */
export interface ErasureReference {
  readonly organizationId: string
  /** `erasure_…` */
  readonly requestId: string
}

/** In the order in which a request that meets nothing in its way passes through them; then where it may end or wait. */
export const erasureStates = [
  'received',
  'identity_pending',
  'scoping',
  'review',
  'approved',
  'cooling_off',
  'fenced',
  'erasing',
  'verifying',
  'notifying',
  'awaiting_expiry',
  'completed',
  'completed_with_exceptions',
  'identity_failed',
  'denied',
  'withdrawn',
  'on_hold',
  'needs_operator',
  'no_match',
  'duplicate',
] as const
export type ErasureState = (typeof erasureStates)[number]

/** Nothing changes any more; identifiers and free text are gone from the request. */
export const finalStates = [
  'completed',
  'completed_with_exceptions',
  'identity_failed',
  'denied',
  'withdrawn',
  'no_match',
  'duplicate',
] as const satisfies readonly ErasureState[]
export type FinalState = (typeof finalStates)[number]

export function isFinal(state: ErasureState): state is FinalState {
  return finalStates.some((final) => final === state)
}

/** GDPR Art. 17(1): why a person may ask for it. */
export const erasureGrounds = [
  '17(1)(a)',
  '17(1)(b)',
  '17(1)(c)',
  '17(1)(d)',
  '17(1)(e)',
  '17(1)(f)',
] as const
export type ErasureGround = (typeof erasureGrounds)[number]

/** GDPR Art. 17(3): why it may be denied, or a class of records exempt. */
export const exemptionGrounds = ['17(3)(a)', '17(3)(b)', '17(3)(c)', '17(3)(d)', '17(3)(e)'] as const
export type ExemptionGround = (typeof exemptionGrounds)[number]

/** How the person may be named. An id counts within its (lower-case) type, everything else for itself. */
export type ErasureIdentifier =
  | { readonly kind: 'id'; readonly type: string; readonly value: string }
  | { readonly kind: 'email' | 'phone' | 'other'; readonly value: string }

/**
 * Records that stay, under the request's `restricted` key. `class` is a category (`account`, `product`, `automation`)
 * or an action, exact or `billing.*`.
 */
export interface Exemption {
  readonly class: string
  readonly ground: ExemptionGround
}

/** What to do with clear text that names this person and others: remove it, or leave it where no reviewer chose it. */
export const jointFreeTextChoices = ['redact', 'review'] as const
export type JointFreeText = (typeof jointFreeTextChoices)[number]

export interface Recipient {
  readonly name: string
  readonly url: string
}

/** What a person at the API, the CLI or Temporal may do to a request: also the names of the workflow's Updates. */
export const erasureActions = [
  'verifyIdentity',
  'approve',
  'deny',
  'extend',
  'withdraw',
  'attest',
  'retry',
] as const
export type ErasureAction = (typeof erasureActions)[number]

/**
 * Payload of every Update: names what the API has stored (who, the words, the key under which it counts once). An Update
 * that names nothing stored changes nothing, so Temporal is no way around the API's roles and four eyes.
 */
export interface ActionReference {
  /** `eact_…` */
  readonly actionId: string
}

export const actionIdPattern = /^eact_[0-7][0-9a-hjkmnp-tv-z]{25}$/

/** Why a request stands still until an operator acts. A closed list: shown, counted, and the type of a step's failure. */
export const operatorReasons = [
  'residue_found',
  'counts_differ',
  'target_unavailable',
  'target_removed',
  'attestation_missing',
  'archive_unavailable',
  'ledger_unavailable',
  'keys_unavailable',
  'key_missing',
  'database_unavailable',
  'manifest_refused',
  'reader_unfit',
  'step_unavailable',
  'internal',
] as const
export type OperatorReason = (typeof operatorReasons)[number]

// ── scope: what the reviewer sees before deciding ────────────────────────────────────────────────────────────────────

/** Others than `counted` have counts of 0. `elsewhere`: a log system that Annals does not look at, and that is attested. */
export const targetStatuses = ['counted', 'unreachable', 'retired', 'elsewhere'] as const

/**
 * What one target holds of the person. Names of targets are fixed words (`hot_events`, `archive_content`, …). With the
 * report they are pinned: one that is here and not there any more blocks completion by its name.
 */
export interface TargetScope {
  readonly target: string
  readonly status: (typeof targetStatuses)[number]
  /** Things (events, entries, findings) that hold something of the person. */
  readonly items: number
  /** Of these: under a legal hold. */
  readonly held: number
}

/** Hits of one identifier in clear text; `identifier` is its position in the request: the value stands nowhere. */
export interface FreeTextScope {
  readonly identifier: number
  readonly kind: ErasureIdentifier['kind']
  readonly hits: number
  /** Of these: in text that another person's identifier shares. */
  readonly joint: number
  /** Too short, or too many hits: counts only where the reviewer confirms it (`approve`'s `confirm`). */
  readonly needsConfirmation: boolean
}

/** Stored with the request; no identifier in clear. */
export interface ScopeReport {
  readonly scopedAt: Date
  /** `sub_…`, sorted. */
  readonly subjects: readonly string[]
  /** Positions of identifiers that lead to more than one subject: an e-mail that two persons share. */
  readonly ambiguousIdentifiers: readonly number[]
  /** How many of the subjects an identifier leads to that leads to nobody else. */
  readonly certainSubjects: number
  readonly targets: readonly TargetScope[]
  readonly freeText: readonly FreeTextScope[]
  /** First and last leaf time of what was found; null where nothing was. */
  readonly earliest: Date | null
  readonly latest: Date | null
}

// ── the erasing steps ────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * Each may run any number of times, at any moment again after a crash, and answers the same then. One that cannot go on
 * throws `ApplicationFailure` with an `OperatorReason` as its type, and, in `details[0]`, the names of the targets
 * concerned (`{targets: string[]}`); non-retryable where trying again cannot help. The workflow tries a retryable one for
 * a bounded time, then the request is `needs_operator`. Steps that last send heartbeats.
 */
export interface ErasingActivities {
  /** Resolves identifiers, counts in every target, saves the `ScopeReport`. Changes nothing else. */
  scope(request: ErasureReference): Promise<ScopeOutcome>
  /** Detaches the directory entries and fences the subjects, unless all of what they have is held. Never undone. */
  fence(request: ErasureReference): Promise<FenceOutcome>
  /** Waits out leases, drains, re-encrypts what stays, writes the subject manifest, seals `erasure_started`. */
  prepare(request: ErasureReference): Promise<void>
  /** Destroys the keys, removes from every target, writes the text manifest, seals `annals.subject.erased`. */
  erase(request: ErasureReference): Promise<void>
  /** The second reader. Saves its report. */
  verify(request: ErasureReference): Promise<VerifyOutcome>
  /** Tells the recipients (Art. 19), each to its own outcome; again at each `until`, until every one has an outcome. */
  notify(request: ErasureReference): Promise<NotifyOutcome>
  /** Ledger and certificate; again at each `until`, until nothing remains. */
  complete(request: ErasureReference): Promise<CompleteOutcome>
}

/** `no_match`: no subject, no hit anywhere, and every target was reachable. */
export interface ScopeOutcome {
  readonly result: 'matched' | 'no_match'
}

/** `held`: a hold covers everything; nothing was changed, to be tried again later. */
export interface FenceOutcome {
  readonly result: 'fenced' | 'held'
}

export type VerifyOutcome =
  | { readonly result: 'clean' }
  /** `targets`: where something is left. */
  | { readonly result: 'residue'; readonly targets: readonly string[] }

export type NotifyOutcome =
  /** `skipped`: there are none. */
  | { readonly result: 'notified' | 'skipped' }
  /** Some were not reached yet; the next attempt is due at this moment (RFC 3339). */
  | { readonly result: 'waiting'; readonly until: string }

export type CompleteOutcome =
  /** Something remains until this moment (RFC 3339) at least. */
  | { readonly result: 'waiting'; readonly until: string }
  | { readonly result: 'completed' | 'completed_with_exceptions' }

/** What came of looking whether something that was kept may go. */
export type ReleaseOutcome =
  | { readonly result: 'nothing' }
  /** Something went; a request that is not complete says so in its first certificate. */
  | { readonly result: 'released' }
  /** Something went, and remains until this moment (RFC 3339) at least: then a further certificate is issued. */
  | { readonly result: 'waiting'; readonly until: string }
  | {
      readonly result: 'certified'
      readonly version: number
      readonly outcome: 'completed' | 'completed_with_exceptions'
    }

/** The workflow that erases what holds had kept; by a Schedule, and when a hold is released. */
export const releaseKeptWorkflowType = 'releaseKept'
export const releaseKeptScheduleId = 'annals-erasure-kept'
export const releaseKeptWorkflowId = (organizationId: string | null): string =>
  organizationId === null ? 'erasure-kept' : `erasure-kept/${organizationId}`

export interface ReleaseKeptInput {
  /** null = all of them. */
  readonly organizationId: string | null
  /** Where an earlier history of the same look stopped. */
  readonly after?: ErasureReference
  /** Of some requests of an earlier history nothing went. */
  readonly failed?: true
  /** Requests that one history looks at. Absent = as many as the server suggests. */
  readonly requests?: number
}

/** Beside `ErasingActivities`, with failures of the same form. */
export interface ReleasingActivities {
  /** Requests of which something may go, by id, the next hundred or so after the one named. */
  listKept(input: ReleaseKeptInput, after: ErasureReference | null): Promise<readonly ErasureReference[]>
  releaseKeptOf(request: ErasureReference): Promise<ReleaseOutcome>
}

// ── what the steps read and write of a request ───────────────────────────────────────────────────────────────────────

/**
 * What became of a target that cannot be looked at any more: its media are destroyed; the person was erased there by hand;
 * what it held has expired there; or it never held anything of the person.
 */
export const retirementOutcomes = [
  'destroyed',
  'erased_manually',
  'expired',
  'out_of_scope_confirmed',
] as const
export type RetirementOutcome = (typeof retirementOutcomes)[number]

export interface Attestation {
  readonly target: string
  readonly principal: string
  readonly at: Date
  /** With it, the target is retired. */
  readonly outcome?: RetirementOutcome
  /** Of a retirement: why, in words that name nobody. What else is attested is sealed with the request's other words. */
  readonly reason?: string
}

export type Retirement = Required<Attestation>

/** What a target, or a log system elsewhere, may be called. */
export const targetNamePattern = /^[a-z][a-z0-9_.-]{0,63}$/

/** A request as the erasing steps see it: opened, for memory only. */
export interface OpenedErasureRequest extends ErasureReference {
  readonly state: ErasureState
  readonly submittedAt: Date
  /** `prn_…` of the submitter, and of the approver once there is one. */
  readonly submitter: string
  readonly approver: string | null
  /** The settings' version of the organization when it was submitted. */
  readonly policyVersion: number
  readonly identifiers: readonly ErasureIdentifier[]
  readonly recipients: readonly Recipient[]
  readonly jointFreeText: JointFreeText
  readonly exempt: readonly Exemption[]
  /** Positions of identifiers whose free-text hits the reviewer confirmed. */
  readonly confirmed: readonly number[]
  readonly scope: ScopeReport | null
  readonly attestations: readonly Attestation[]
}

/** Implemented by `erasure/store.ts`; asked by the erasing steps. */
export interface ErasureRequests {
  /**
   * @throws AnnalsError `not_found`; KeyError where the request's key is missing or wrong
   * @throws AnnalsError `wrong_state` from `awaiting_expiry` on, or where it has ended: its identifiers are gone
   */
  open(request: ErasureReference): Promise<OpenedErasureRequest>
  /** Saves the report of a scoping; the last one stands. */
  saveScope(request: ErasureReference, report: ScopeReport): Promise<void>
}
