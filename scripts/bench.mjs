// npm run bench [-- --driver dir|btrfs] [--only WORDS] [--write]: the same work on LXD (where it is installed) and on Muster, side by side.
import { spawnSync } from 'node:child_process';
import { inRepository, node } from './lib/repository.mjs';
import { setUp } from './lib/setup.mjs';

setUp();
process.exit(
  spawnSync(node, ['--no-warnings', inRepository('dist/test/benchmark/main.js'), ...process.argv.slice(2)], { stdio: 'inherit' }).status ?? 1,
);
