import { defineConfig } from 'vitest/config';

export default defineConfig({
  resolve: { conditions: ['source', 'node', 'import', 'default'] },
  ssr: { resolve: { conditions: ['source', 'node', 'import', 'default'] } },
  test: {
    include: ['apps/*/src/**/*.spec.ts', 'libs/*/src/**/*.spec.ts'],
    pool: 'forks',
    maxWorkers: 2,
    // Real machines under real load: what fails twice is broken. A test that needed its second try is named in the report.
    retry: 1,
    testTimeout: 30_000,
    hookTimeout: 30_000,
  },
});
