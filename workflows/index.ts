/** The only entry of the workflow bundle: every export is a workflow type, by its published name. */
export { scan } from './scan.js'
export { seal } from './seal.js'
