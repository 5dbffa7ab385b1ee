import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { createCursorCodec } from '../../../src/http/cursor.js'

const cursors = createCursorCodec(Buffer.alloc(32, 1))
const shape = z.object({ at: z.string(), id: z.string() })
const position = { at: '2026-11-25T10:00:00.000Z', id: 'evt_1' }
const filters = { organizationId: 'org_acme', action: 'team.*', from: undefined }
const invalid = expect.objectContaining({ code: 'cursor_invalid' }) as Error

describe('a cursor', () => {
  const cursor = cursors.seal(position, filters)

  it('opens to its position under the same filters, in any order', () => {
    expect(cursors.open(cursor, filters, shape)).toEqual(position)
    expect(cursors.open(cursor, { action: 'team.*', organizationId: 'org_acme' }, shape)).toEqual(position)
  })

  it('is refused under other filters, and by another deployment', () => {
    expect(() => cursors.open(cursor, { ...filters, action: 'team' }, shape)).toThrow(invalid)
    expect(() => cursors.open(cursor, { organizationId: 'org_acme' }, shape)).toThrow(invalid)
    expect(() => createCursorCodec(Buffer.alloc(32, 2)).open(cursor, filters, shape)).toThrow(invalid)
  })

  it('is refused with any one character changed, left out or added', () => {
    for (let at = 0; at < cursor.length; at += 1) {
      const other = cursor.charAt(at) === 'A' ? 'B' : 'A'
      const changed = cursor.slice(0, at) + other + cursor.slice(at + 1)
      const shorter = cursor.slice(0, at) + cursor.slice(at + 1)
      expect(() => cursors.open(changed, filters, shape)).toThrow(invalid)
      expect(() => cursors.open(shorter, filters, shape)).toThrow(invalid)
    }
    for (const text of ['', '=', `${cursor}=`, `${cursor} `, `${cursor}!`, 'x'.repeat(100_000)]) {
      expect(() => cursors.open(text, filters, shape)).toThrow(invalid)
    }
  })

  it('is refused where its position is not of the list', () => {
    expect(() => cursors.open(cursors.seal(['a'], filters), filters, shape)).toThrow(invalid)
  })
})
