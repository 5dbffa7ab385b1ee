/** Where the workflow bundle and what it is made of lie, whether this runs built (in `dist`) or from source. */
import { basename, dirname, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const parent = resolve(dirname(fileURLToPath(import.meta.url)), '..')
const root = basename(parent) === 'dist' ? resolve(parent, '..') : parent

export const bundlePaths = {
  root,
  /** Bundled from the sources: what is built and what is tested is one and the same. */
  workflows: resolve(root, 'workflows/index.ts'),
  payloadConverter: resolve(root, 'workflows/payload-converter.ts'),
  failureConverter: resolve(root, 'src/temporal/failure-converter.ts'),
  bundle: resolve(root, 'dist/workflow-bundle.js'),
  /** What the bundle was made from: `{inputs: <hash>}`. */
  manifest: resolve(root, 'dist/workflow-bundle.json'),
} as const
