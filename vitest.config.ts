import { defineConfig } from 'vitest/config';

export default defineConfig({
  resolve: { conditions: ['source', 'node', 'import', 'default'] },
  ssr: { resolve: { conditions: ['source', 'node', 'import', 'default'] } },
  test: {
    include: ['apps/*/src/**/*.spec.ts', 'libs/*/src/**/*.spec.ts'],
    pool: 'forks',
    maxWorkers: 2,
    // These tests share one machine with whatever else it does; what fails three times is broken.
    retry: 2,
    testTimeout: 30_000,
    hookTimeout: 30_000,
  },
});
