import { defineConfig } from 'vitest/config';

// On the machine itself, as root, one file after the other: they share bridges, loop devices and cgroups with nobody.
export default defineConfig({
  resolve: { conditions: ['source', 'node', 'import', 'default'] },
  ssr: { resolve: { conditions: ['source', 'node', 'import', 'default'] } },
  test: {
    root: new URL('..', import.meta.url).pathname,
    // `npm run soak`: what takes long, or has not yet been seen to pass on a quiet machine in one go.
    include: process.env.MUSTER_SOAK ? ['test/integration/**/*.soak.ts', 'libs/*/src/**/*.it.ts'] : ['test/integration/**/*.it.ts'],
    pool: 'forks',
    fileParallelism: false,
    // These tests share one machine with whatever else it does; what fails three times is broken.
    retry: 2,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    passWithNoTests: true,
  },
});
