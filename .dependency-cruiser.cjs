/** The import rules of docs/architecture.md: imports point one way. */
const entry = (name, from, to, comment) => ({ name, severity: 'error', comment, from, to })

module.exports = {
  forbidden: [
    entry(
      'no-circular',
      {},
      { circular: true },
      'A cycle means two ideas that are really one, or one in the wrong room.',
    ),
    entry(
      'no-orphans',
      { orphan: true, pathNot: ['\\.d\\.ts$', '^test/', '\\.test\\.ts$'] },
      {},
      'Dead code goes.',
    ),
    entry(
      'workflows-are-pure',
      { path: '^workflows/' },
      {
        pathNot: [
          '^workflows/',
          '^src/[^/]+/(contract|policy|deadlines|state-machine)\\.ts$',
          '^src/retention/expiry-contract\\.ts$',
          '^src/archive/restores/contract\\.ts$',
          '^activities/',
          'node_modules/@temporalio/(workflow|common)',
        ],
      },
      'Workflow code imports the workflow API, contract and policy files, and activity types only.',
    ),
    entry(
      'workflows-see-activity-types-only',
      { path: '^workflows/' },
      { path: '^activities/', dependencyTypesNot: ['type-only'] },
      'Activities are reached by type; an imported activity would drag Node into the sandbox.',
    ),
    entry(
      'contracts-are-pure',
      { path: '^src/[^/]+/(contract|policy|deadlines|state-machine)\\.ts$' },
      {
        pathNot: [
          '^src/[^/]+/(contract|policy|deadlines|state-machine)\\.ts$',
          'node_modules/@temporalio/common',
        ],
        dependencyTypesNot: ['type-only'],
      },
      'contract.ts and policy.ts run in the workflow sandbox and in a browser.',
    ),
    entry(
      'transparency-log-core-is-pure',
      {
        path: '^src/transparency-log/(checkpoint|cosignature|encoding|entry-bundle|errors|frontier|hash|note|note-key|proof|tile|tile-appender|tile-nodes|tile-reader|tlog-proof|tree|witness-message|anchor/entry|anchor/logs-tree|anchor/anchor-proof)\\.ts$',
      },
      { dependencyTypes: ['core', 'npm'] },
      'The core of the log does no I/O and runs in a browser.',
    ),
    entry(
      'verification-core-is-pure',
      {
        path: '^src/verification/(anchor-check|contract|erasures|errors|event-check|event-values|expiries|expiry-rules|findings|leaf-check|log-source|log-walk|receipt-check|trust|upper-tiles)\\.ts$',
      },
      {
        pathNot: [
          '^src/verification/(anchor-check|contract|erasures|errors|event-check|event-values|expiries|expiry-rules|findings|leaf-check|log-source|log-walk|receipt-check|trust|upper-tiles)\\.ts$',
          '^src/transparency-log/anchor/(anchor-proof|anchored-record|entry|logs-tree)\\.ts$',
          '^src/transparency-log/(checkpoint|cosignature|encoding|entry-bundle|errors|frontier|hash|note|note-key|proof|tile|tile-reader|tlog-proof|tree)\\.ts$',
        ],
      },
      'The rules of verification run offline and in a browser, and share no code with intake.',
    ),
    entry(
      'only-the-worker-loads-workflows',
      { path: '^(src|activities)/' },
      { path: '^workflows/', dependencyTypesNot: ['type-only'] },
    ),
    entry(
      'only-workers-load-activities',
      { path: '^(src|workflows)/' },
      { path: '^activities/', dependencyTypesNot: ['type-only'] },
    ),
    entry(
      'only-the-cli-loads-workers',
      { path: '^src/', pathNot: '^src/cli/' },
      { path: '^workers/' },
      'The API process must not carry the native worker.',
    ),
    entry(
      'the-cli-loads-workers-dynamically',
      { path: '^src/cli/' },
      { path: '^workers/', dependencyTypesNot: ['dynamic-import', 'type-only'] },
    ),
    entry(
      'nothing-imports-the-cli',
      { path: '^(src|activities|workers|workflows)/', pathNot: '^src/cli/' },
      { path: '^src/cli/' },
    ),
    entry(
      'services-know-no-http',
      {
        path: '^src/',
        pathNot: [
          '^src/(http|cli)/',
          '^src/(api|composition)\\.ts$',
          '(routes|openapi|schema|list-input|read-input)\\.ts$',
        ],
      },
      { path: '^src/http/' },
      'Routes call services; services never see a request.',
    ),
    entry(
      'the-client-needs-nothing',
      { path: '^src/client/' },
      { pathNot: '^src/client/', dependencyTypesNot: ['type-only'] },
      'The client runs in browsers and elsewhere with `fetch` alone; of the server it knows types.',
    ),
    entry(
      'no-test-code-in-the-product',
      { path: '^(src|workflows|activities|workers)/' },
      { path: '^(test|bench)/' },
    ),
    entry(
      'no-dev-dependencies',
      { path: '^(src|workflows|activities|workers)/' },
      { dependencyTypes: ['npm-dev'], dependencyTypesNot: ['type-only'] },
    ),
    entry(
      'only-config-reads-the-environment',
      { path: '^src/', pathNot: ['^src/(cli|embedded)/', '^src/config\\.ts$'] },
      { path: '^(node:)?process$' },
    ),
  ],
  options: {
    doNotFollow: { path: ['node_modules', 'dist'] },
    exclude: { path: '^dist/' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'require', 'node', 'default', 'types'],
    },
  },
}
