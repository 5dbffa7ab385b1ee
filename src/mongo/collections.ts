/** Every MongoDB collection that Annals owns, by one name each. What each holds stands in docs/architecture.md. */
export const collectionNames = {
  accessKeys: 'accessKeys',
  actionSchemas: 'actionSchemas',
  deployment: 'deployment',
  directory: 'directory',
  events: 'events',
  organizations: 'organizations',
  scanFindings: 'scanFindings',
  scans: 'scans',
  subjects: 'subjects',
} as const
