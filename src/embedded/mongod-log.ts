/**
 * Keeps documents out of mongod's log. Annals stores ciphertext for people, but a log line that quotes a command
 * quotes clear fields, and a log outlives an erasure. Redaction of client data is not in the community server, so:
 * slow operations are never logged (`mongod.ts` sets the threshold out of reach), and of the lines that remain
 * ("Plan executor error during findAndModify" quotes the whole command) only those of components that never handle
 * documents keep their attributes.
 */

/** Components whose attributes speak of files, sockets, settings and elections. */
const trustedComponents = new Set([
  'ACCESS',
  'CONTROL',
  'ELECTION',
  'FTDC',
  'NETWORK',
  'RECOVERY',
  'STORAGE',
  'WT',
  'WTBACKUP',
  'WTCHKPT',
  'WTRECOV',
])

/** One line of mongod's JSON log (MongoDB 4.4+), without attributes that could quote a document. Never throws. */
export function withoutDocuments(line: string): string | undefined {
  if (line.trim() === '') return undefined
  let entry: unknown
  try {
    entry = JSON.parse(line)
  } catch {
    // Not the log's own form: a crash report, or the linker's words before the log begins.
    return line.slice(0, 500)
  }
  if (typeof entry !== 'object' || entry === null) return undefined
  const { t, s, c, id, ctx, msg, attr } = entry as Record<string, unknown>
  const keepAttributes = typeof c === 'string' && trustedComponents.has(c)
  return JSON.stringify({ t, s, c, id, ctx, msg, ...(keepAttributes ? { attr } : {}) })
}
