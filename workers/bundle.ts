/**
 * Builds the workflow bundle ahead, so that a worker starts without webpack and every worker of a deployment runs
 * the same code. `npm run build` runs this file; it does nothing where no input changed.
 */
import { createHash } from 'node:crypto'
import { mkdir, readdir, readFile, rename, stat, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join, relative } from 'node:path'
import { pathToFileURL } from 'node:url'
import { bundleWorkflowCode, DefaultLogger } from '@temporalio/worker'
import { z } from 'zod'
import { bundlePaths } from './paths.js'

const manifestSchema = z.object({ inputs: z.string() })

/** Builds the bundle unless it is there and up to date. @returns whether it was built */
export async function buildWorkflowBundle(): Promise<boolean> {
  const inputs = await hashInputs()
  if ((await builtInputs()) === inputs) return false
  const { code } = await bundleWorkflowCode({
    workflowsPath: bundlePaths.workflows,
    payloadConverterPath: bundlePaths.payloadConverter,
    failureConverterPath: bundlePaths.failureConverter,
    logger: new DefaultLogger('WARN'),
  })
  await mkdir(dirname(bundlePaths.bundle), { recursive: true })
  await replaceFile(bundlePaths.bundle, code)
  // Last: a bundle without its manifest is built again.
  await replaceFile(bundlePaths.manifest, `${JSON.stringify({ inputs })}\n`)
  return true
}

/** Names the workflow code of the bundle that a worker is about to run. @throws Error where none was built */
export async function workflowBuildId(): Promise<string> {
  const inputs = await builtInputs()
  if (inputs === undefined) throw new Error('there is no workflow bundle; run npm run build')
  return inputs.slice(0, 16)
}

/** Over all that can change the bundle: the code it is made of, and the SDK that makes it. */
async function hashInputs(): Promise<string> {
  const hash = createHash('sha256')
  for (const file of await inputFiles()) {
    hash
      .update(`${relative(bundlePaths.root, file)}\0`)
      .update(await readFile(file))
      .update('\0')
  }
  return hash.digest('hex')
}

async function inputFiles(): Promise<string[]> {
  const workflows = await typescriptFiles(join(bundlePaths.root, 'workflows'))
  // Workflow code imports contract and policy files of the domains, and nothing else of src.
  const domains = (await typescriptFiles(join(bundlePaths.root, 'src'))).filter((file) =>
    /[\\/](contract|policy)\.ts$/.test(file),
  )
  const sdk = createRequire(import.meta.url).resolve('@temporalio/worker/package.json')
  return [...workflows, ...domains, bundlePaths.failureConverter, sdk].sort()
}

async function typescriptFiles(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  return entries
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => join(entry.parentPath, entry.name))
}

/** The inputs of the bundle that lies there. */
async function builtInputs(): Promise<string | undefined> {
  try {
    await stat(bundlePaths.bundle)
    return manifestSchema.parse(JSON.parse(await readFile(bundlePaths.manifest, 'utf8'))).inputs
  } catch {
    return undefined
  }
}

/** Whole or not at all, also where two builds run at once. */
async function replaceFile(file: string, content: string): Promise<void> {
  const temporary = `${file}.${process.pid}.tmp`
  await writeFile(temporary, content)
  await rename(temporary, file)
}

const [, entry] = process.argv
if (entry !== undefined && import.meta.url === pathToFileURL(entry).href) await buildWorkflowBundle()
