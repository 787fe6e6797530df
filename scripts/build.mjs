// npm run build: TypeScript → dist/. Only what changed is written, so that a daemon that runs from dist is not disturbed.
import { spawnSync } from 'node:child_process';
import { inRepository, node } from './lib/repository.mjs';

const { status } = spawnSync(node, [inRepository('node_modules/typescript7/bin/tsc'), '-p', inRepository('tsconfig.json')], { stdio: 'inherit' });
process.exit(status ?? 1);
