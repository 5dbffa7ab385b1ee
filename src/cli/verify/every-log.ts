/** `annals verify SERVER` without an organization: every log of it that the key may see, one after the other. */
import { z } from 'zod'
import { AnnalsClientError, createClient } from '../../client/index.js'
import { organizationIdPattern } from '../../organizations/contract.js'
import { fieldStates, type AnchorReport, type LogReport } from '../../verification/contract.js'
import { TrustError } from '../../verification/errors.js'
import type { LogVerification } from '../../verification/run.js'
import { table } from '../output.js'
import { logText } from './report.js'

/** An organization of the list whose log was not verified, and the code that says why. */
export interface Unverified {
  readonly organization: string
  readonly code: string
}

export interface EveryLog {
  readonly logs: readonly ({ readonly organization: string } & LogVerification)[]
  /** Their logs are not here, and need not be: another region's, or offboarded. */
  readonly elsewhere: readonly Unverified[]
  /** Their logs should be here, and are not. */
  readonly absent: readonly Unverified[]
}

const elsewhereCodes: readonly string[] = ['wrong_region', 'offboarded']
const absentCodes: readonly string[] = ['not_sealed', 'not_found']
const organizationSchema = z.object({ id: z.string().regex(organizationIdPattern) })

/**
 * The ids of all organizations of a server, Annals' own among them.
 * @throws TrustError where the key may not list them; AnnalsClientError
 */
export async function organizationsOf(server: {
  readonly url: string
  readonly key: string
}): Promise<string[]> {
  const ids: string[] = []
  try {
    for await (const organization of createClient(server).list('/v1/organizations'))
      ids.push(organizationSchema.parse(organization).id)
  } catch (error) {
    if (error instanceof AnnalsClientError && error.code === 'forbidden')
      throw new TrustError("Whose log? Give --organization: only an owner's key sees which there are.")
    throw error
  }
  return ids
}

/** @throws what `verify` throws, but for logs that are not there: those are told */
export async function verifyEach(
  organizations: readonly string[],
  verify: (organization: string) => Promise<LogVerification>,
): Promise<EveryLog> {
  const logs: EveryLog['logs'][number][] = []
  const elsewhere: Unverified[] = []
  const absent: Unverified[] = []
  for (const organization of organizations) {
    try {
      logs.push({ organization, ...(await verify(organization)) })
    } catch (error) {
      if (!(error instanceof AnnalsClientError)) throw error
      const { code } = error
      if (elsewhereCodes.includes(code)) elsewhere.push({ organization, code })
      else if (absentCodes.includes(code)) absent.push({ organization, code })
      else throw error
    }
  }
  return { logs, elsewhere, absent }
}

const number = (value: number) => value.toLocaleString('en')

/** A line for each log; what does not hold in full below. */
export function everyLogText({ logs, elsewhere, absent }: EveryLog): string {
  const rows = logs.map(({ organization, report, anchor }) => [
    report.findingCount === 0 ? 'intact' : 'TAMPERING',
    organization,
    number(report.size),
    number(report.events),
    fieldsOf(report),
    anchorOf(anchor),
  ])
  const lines = [table(['', 'organization', 'leaves', 'values of', 'fields', 'anchor'], rows)]
  for (const { report } of logs) if (report.findingCount > 0) lines.push('', logText(report))
  for (const { organization, code } of [...elsewhere, ...absent])
    lines.push(`not verified  ${organization}  ${code}`)
  return lines.join('\n')
}

const fieldsOf = ({ fields, events }: LogReport): string =>
  events === 0
    ? 'not verified'
    : fieldStates
        .filter((state) => state === 'intact' || fields[state] > 0)
        .map((state) => `${number(fields[state])} ${state}`)
        .join(', ')

const anchorOf = ({ state, cosignedBy }: AnchorReport): string =>
  state === 'anchored' ? `anchored, ${String(cosignedBy.length)} cosigned` : state.replace('_', ' ')
