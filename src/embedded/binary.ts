/** A server binary, proven to run on this machine by asking its version. */
import { execFile } from 'node:child_process'
import { childEnvironment } from '../config.js'

export interface Binary {
  /** A path, or a bare name that the system finds on PATH. */
  readonly command: string
  readonly version: string
}

export interface BinaryKind {
  readonly name: 'mongod' | 'temporal'
  /** Finds the version in what `--version` prints; also tells the program from another of the same name. */
  readonly versionPattern: RegExp
  /** The oldest version Annals works with: major, minor. */
  readonly minimum: readonly [number, number]
}

export type Proof = { readonly binary: Binary } | { readonly problem: string; readonly absent: boolean }

/** Runs `command --version`. Never throws: what is wrong is in `problem`, `absent` says that there is no such file. */
export async function proveBinary(kind: BinaryKind, command: string): Promise<Proof> {
  const run = await new Promise<{ output: string; error?: Error }>((resolve) => {
    execFile(
      command,
      ['--version'],
      { timeout: 20_000, env: childEnvironment({}) },
      (error, stdout, stderr) => resolve(error === null ? { output: stdout } : { output: stderr, error }),
    )
  })
  if (run.error !== undefined) {
    const absent = 'code' in run.error && run.error.code === 'ENOENT'
    return { absent, problem: absent ? 'not found' : explainFailure(run.output, run.error) }
  }
  const version = kind.versionPattern.exec(run.output)?.[1]
  if (version === undefined) {
    return { absent: false, problem: `is no ${kind.name}: its --version says something else` }
  }
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const [needMajor, needMinor] = kind.minimum
  if (major < needMajor || (major === needMajor && minor < needMinor)) {
    return { absent: false, problem: `is version ${version}; ${needMajor}.${needMinor} or newer is needed` }
  }
  return { binary: { command, version } }
}

/** The dynamic linker's own words name the missing library; say which Debian package brings the usual ones. */
function explainFailure(stderr: string, error: Error): string {
  const library = /lib[A-Za-z0-9_+-]+\.so[.0-9]*/.exec(stderr)?.[0]
  if (library !== undefined && /shared librar|No such file/.test(stderr)) {
    const debianPackage = {
      'libcurl.so.4': 'libcurl4',
      'libcrypto.so.3': 'libssl3',
      'libssl.so.3': 'libssl3',
    }[library]
    const advice =
      debianPackage === undefined ? '' : ` (on Debian and Ubuntu: apt-get install ${debianPackage})`
    return `does not run: ${library} is missing${advice}`
  }
  const words = stderr.trim().split('\n')[0] ?? ''
  return `does not run: ${words === '' ? (error.message.split('\n')[0] ?? '') : words}`
}
