import { defineConfig } from 'vitest/config';

// In virtual time; nothing on the machine is touched but a directory in memory.
export default defineConfig({
  resolve: { conditions: ['source', 'node', 'import', 'default'] },
  ssr: { resolve: { conditions: ['source', 'node', 'import', 'default'] } },
  test: {
    root: new URL('..', import.meta.url).pathname,
    include: ['test/simulation/**/*.sim.ts'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 300_000,
    hookTimeout: 60_000,
  },
});
