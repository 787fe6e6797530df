// npm run check: types, lint, format, who may import whom, generated files fresh. Exits 1 with what is wrong.
import { spawnSync } from 'node:child_process';
import { inRepository, node, root } from './lib/repository.mjs';
import { checkImports } from './lib/import-table.mjs';

const steps = [
  ['types', () => run(node, [inRepository('node_modules/typescript7/bin/tsc'), '-p', 'tsconfig.json', '--noEmit'])],
  ['lint', () => run(inRepository('node_modules/.bin/oxlint'), ['--quiet', 'apps', 'libs', 'test', 'scripts'])],
  [
    'floating promises in state wings',
    () => run(inRepository('node_modules/.bin/oxlint'), ['--type-aware', '--quiet', '-A', 'all', '-D', 'typescript/no-floating-promises', 'libs']),
  ],
  ['format', () => run(inRepository('node_modules/.bin/oxfmt'), ['--check', 'apps', 'libs', 'test', 'scripts'])],
  ['who may import whom', () => checkImports(root)],
  ['generated files', () => run(node, [inRepository('scripts/generate.mjs'), '--check'])],
  ['reference pages', () => run(node, ['--no-warnings', inRepository('scripts/reference.mjs'), '--check'])],
];

function run(program, args) {
  const done = spawnSync(program, args, {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, PATH: `${inRepository('node_modules/.bin')}:${process.env.PATH}` },
  });
  return done.status === 0 ? [] : [(done.stdout + done.stderr).trim()];
}

let failed = 0;
for (const [name, step] of steps) {
  const problems = step();
  console.log(`${problems.length === 0 ? 'ok    ' : 'FAILED'} ${name}`);
  for (const problem of problems) console.log(problem);
  if (problems.length > 0) failed++;
}
console.log(`${steps.length - failed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
