import { expect, it } from 'vitest'
import {
  changedSettings,
  initialSettings,
  organizationChangeSchema,
} from '../../../src/organizations/settings.js'

it('a new organization has the defaults for what is left out', () => {
  expect(initialSettings({ name: 'Acme' }, 'eu')).toMatchObject({
    name: 'Acme',
    region: 'eu',
    detection: 'flag',
    coolingOffHours: 24,
  })
})

it('person types are compared without case and each once', () => {
  expect(organizationChangeSchema.parse({ personTypes: ['User', 'USER', 'patient'] }).personTypes).toEqual([
    'user',
    'patient',
  ])
})

it('only what would really change counts as changed', () => {
  const current = initialSettings({ name: 'Acme', personTypes: ['user'] }, 'eu')
  expect(changedSettings(current, { name: 'Acme', personTypes: ['user'] })).toEqual([])
  expect(changedSettings(current, { name: null, personTypes: ['user', 'x'] })).toEqual([
    'name',
    'personTypes',
  ])
  expect(changedSettings(current, {})).toEqual([])
})
