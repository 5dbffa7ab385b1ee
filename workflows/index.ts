/** The only entry of the workflow bundle: every export is a workflow type, by its published name. */
export { anchor } from './anchor.js'
export { archive } from './archive.js'
export { erasure } from './erasure.js'
export { redaction } from './redaction.js'
export { restore } from './restore.js'
export { retentionSweep } from './retention-sweep.js'
export { scan } from './scan.js'
export { seal } from './seal.js'
