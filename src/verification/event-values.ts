/**
 * What an event in its verifiable form (docs/formats.md) says, read as far as it has the form. Pure, and nobody's word: whoever
 * believes it has checked that the values make a leaf.
 */

/** The members of an object; none where it is no object. */
export const membersOf = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {}

/** undefined for a text that is no JSON. */
export function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** The value in a slot; undefined where there is none. */
export function valueOf(event: unknown, slot: string): unknown {
  return clearFields(event).find((field) => field.slot === slot)?.value
}

/** The pairs of its metadata. */
export function metadataOf(event: unknown): ReadonlyMap<unknown, unknown> {
  const metadata = new Map<unknown, unknown>()
  for (const { slot, value } of clearFields(event))
    if (slot.startsWith('metadata/') && Array.isArray(value)) metadata.set(value[0], value[1])
  return metadata
}

function clearFields(event: unknown): readonly { readonly slot: string; readonly value: unknown }[] {
  const { fields } = membersOf(event)
  if (!Array.isArray(fields)) return []
  return (fields as readonly unknown[]).flatMap((field) => {
    const { slot, value } = membersOf(field)
    return typeof slot === 'string' && typeof value === 'string' ? [{ slot, value: jsonOf(value) }] : []
  })
}
