/** Every MongoDB collection that Annals owns, by one name each. What each holds stands in docs/architecture.md. */
export const collectionNames = {
  accessKeys: 'accessKeys',
  actionSchemas: 'actionSchemas',
  deployment: 'deployment',
  directory: 'directory',
  events: 'events',
  logEntries: 'logEntries',
  logHeads: 'logHeads',
  logTiles: 'logTiles',
  organizations: 'organizations',
  scanFindings: 'scanFindings',
  scans: 'scans',
  signingKeys: 'signingKeys',
  subjects: 'subjects',
} as const
