/** What the tests of offboardings ask, with the keys of two owners and an operator. */
import { expect } from 'vitest'
import type { OffboardingView } from '../../src/offboarding/schema.js'
import type { World } from './world.js'

export const [firstOwner, secondOwner] = [
  'prn_01jd2zq8w9e5cs0v1m6k3n7p4r',
  'prn_01jd2zq8w9e5cs0v1m6k3n7p4s',
] as const

export const code = (answer: { body: unknown }) => (answer.body as { code: string }).code

export async function offboardingDesk(world: World) {
  const owners = [
    await world.key({ role: 'owner', principal: firstOwner }),
    await world.key({ role: 'owner', principal: secondOwner }),
  ] as const
  const operator = await world.key({ role: 'operator', principal: firstOwner })
  const base = (organization: string) => `/v1/organizations/${organization}/offboarding`
  return {
    owners,
    operator,
    base,
    ask: (
      organization: string,
      key: string = owners[0],
      headers = {},
      body: unknown = { confirm: organization, reason: 'left' },
    ) => world.request('POST', base(organization), { key, body, headers }),
    act: (organization: string, id: string, action: string, key: string) =>
      world.request('POST', `${base(organization)}/${id}/${action}`, { key }),
    show: async (organization: string, id: string) =>
      (await world.request('GET', `${base(organization)}/${id}`, { key: operator })).body as OffboardingView,
    /** Its cooling off takes no time. */
    put: (organization: string) =>
      world.request('PUT', `/v1/organizations/${organization}`, {
        body: { coolingOffHours: 0, name: `Inc ${organization}` },
      }),
    /** @returns the event's id */
    async post(organizationId: string, rest: object = {}) {
      const body = {
        organizationId,
        action: 'document.opened',
        occurredAt: new Date().toISOString(),
        actor: { type: 'user', id: 'u_1', name: 'Jane Doe', email: 'jane@acme.example' },
        targets: [],
        ...rest,
      }
      const answer = await world.request('POST', '/v1/events', { body })
      expect(answer.status, answer.text).toBe(201)
      return (answer.body as { id: string }).id
    },
  }
}

export type OffboardingDesk = Awaited<ReturnType<typeof offboardingDesk>>
