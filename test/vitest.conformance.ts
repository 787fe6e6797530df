import { defineConfig } from 'vitest/config';

// On the machine itself, as root, one file after the other: they share bridges, loop devices and cgroups with nobody.
export default defineConfig({
  resolve: { conditions: ['source', 'node', 'import', 'default'] },
  ssr: { resolve: { conditions: ['source', 'node', 'import', 'default'] } },
  test: {
    root: new URL('..', import.meta.url).pathname,
    include: ['test/conformance/**/*.it.ts'],
    pool: 'forks',
    fileParallelism: false,
    retry: 2,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    passWithNoTests: true,
  },
});
