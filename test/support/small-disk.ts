/** A file system that is really full, or really read-only: a tmpfs, which root may mount; root ignores permissions. */
import { execFileSync } from 'node:child_process'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** False where this user may not mount: the test then shows the fault in another way, or says so by name. */
export const canMount = mayMount()

function mayMount(): boolean {
  try {
    // In a namespace of its own, which ends with the command.
    execFileSync('unshare', ['--mount', 'mount', '-t', 'tmpfs', 'tmpfs', tmpdir()], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

export interface SmallDisk {
  readonly folder: string
  forbidWriting(): void
}

export async function withSmallDisk(bytes: number, work: (disk: SmallDisk) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'annals-small-disk-'))
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${String(bytes)}`, 'tmpfs', folder])
  try {
    await work({ folder, forbidWriting: () => void execFileSync('mount', ['-o', 'remount,ro', folder]) })
  } finally {
    execFileSync('umount', ['--lazy', folder])
    execFileSync('rmdir', [folder])
  }
}
