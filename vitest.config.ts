import { defineConfig } from 'vitest/config'

const pureTests = ['test/{unit,properties,vectors,contracts}/**/*.test.ts']

export default defineConfig({
  test: {
    testTimeout: 60_000,
    hookTimeout: 120_000,
    // A second, as it is by default, is no time on a machine that others use too.
    expect: { poll: { timeout: 30_000 } },
    pool: 'forks',
    maxWorkers: 2,
    // Two projects, so that a run of pure tests alone starts no server: a project's global setup runs only when
    // one of its tests is selected.
    projects: [
      { extends: true, test: { name: 'pure', include: pureTests } },
      {
        extends: true,
        test: {
          name: 'servers',
          include: ['test/**/*.test.ts'],
          exclude: pureTests,
          // Real servers on a machine that others use too: the longest of these takes a minute on a slow day.
          testTimeout: 180_000,
          hookTimeout: 180_000,
          expect: { poll: { timeout: 60_000 } },
          globalSetup: ['test/support/global-setup.ts'],
        },
      },
    ],
  },
})
