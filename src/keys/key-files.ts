/** Files that hold keys: made once, whole or not at all, readable by the owner alone. */
import { randomUUID } from 'node:crypto'
import { link, mkdir, open, unlink } from 'node:fs/promises'
import { dirname } from 'node:path'

/**
 * Writes `content` to `file` unless the file exists; two processes at once make one file. The bytes are on
 * disk before the name is, and the name before this returns: a key that data was encrypted under is never lost
 * to a power cut.
 * @returns whether this call made the file
 */
export async function createFileOnce(file: string, content: string): Promise<boolean> {
  await mkdir(dirname(file), { recursive: true, mode: 0o700 })
  const temporary = `${file}.${randomUUID()}.tmp`
  const handle = await open(temporary, 'wx', 0o600)
  try {
    await handle.writeFile(content)
    await handle.sync()
  } finally {
    await handle.close()
  }
  try {
    // link fails where the name is taken, which rename would not.
    await link(temporary, file)
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false
    throw error
  } finally {
    await unlink(temporary)
  }
  const folder = await open(dirname(file), 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
  return true
}
