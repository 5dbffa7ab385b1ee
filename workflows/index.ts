/** The only entry of the workflow bundle: every export is a workflow type, by its published name. */
export { anchor } from './anchor.js'
export { scan } from './scan.js'
export { seal } from './seal.js'
