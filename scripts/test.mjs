// npm test: everything but soaks and benchmarks. Sets up what is missing, and ends with one line over all that ran: N passed, N failed, N skipped.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inRepository, node, root } from './lib/repository.mjs';
import { say, setUp } from './lib/setup.mjs';

setUp();
const work = mkdtempSync(join(tmpdir(), 'muster-test-'));
const total = { passed: 0, failed: 0, skipped: 0 };
const started = Date.now();

await phase('check', () => lines('scripts/check.mjs'));
await phase('unit', () => vitest('vitest.config.ts'));
if (existsSync(inRepository('scripts/sim.mjs'))) await phase('simulation', () => lines('scripts/sim.mjs', '--seeds', '1000'));
await phase('simulation: scenarios and mutations', () => vitest('test/vitest.simulation.ts'));
await phase('integration', () => vitest('test/vitest.integration.ts'));
await phase('conformance', () => vitest('test/vitest.conformance.ts'));
rmSync(work, { recursive: true, force: true });
say(`\n${Math.round((Date.now() - started) / 1000)} s`);
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exit(total.failed === 0 ? 0 : 1);

async function phase(name, run) {
  say(`\n== ${name}`);
  const { passed, failed, skipped } = await run();
  total.passed += passed;
  total.failed += failed;
  total.skipped += skipped;
}

/** A script of ours, whose last line says `N passed, N failed`. */
async function lines(script, ...args) {
  const { status, output } = await run(node, [inRepository(script), ...args]);
  const match = /(\d+) passed, (\d+) failed/.exec(output.trim().split('\n').at(-1) ?? '');
  return match ? { passed: Number(match[1]), failed: Number(match[2]), skipped: 0 } : { passed: 0, failed: status === 0 ? 0 : 1, skipped: 0 };
}

async function vitest(config) {
  const report = join(work, 'report.json');
  rmSync(report, { force: true });
  await run(node, [
    inRepository('node_modules/vitest/vitest.mjs'),
    'run',
    '--config',
    config,
    '--reporter=dot',
    '--reporter=json',
    `--outputFile.json=${report}`,
  ]);
  if (!existsSync(report)) return { passed: 0, failed: 1, skipped: 0 };
  const result = JSON.parse(readFileSync(report, 'utf8'));
  const skips = result.testResults.flatMap(({ assertionResults }) =>
    assertionResults.filter(({ status }) => status === 'skipped' || status === 'pending' || status === 'todo'),
  );
  for (const { fullName } of skips) say(`skipped: ${fullName}`);
  // A file that could not even be loaded counts as a failure of its own.
  const broken = result.testResults.filter(({ status, assertionResults }) => status === 'failed' && assertionResults.length === 0).length;
  return { passed: result.numPassedTests, failed: result.numFailedTests + broken, skipped: skips.length };
}

function run(program, args) {
  return new Promise((resolve) => {
    const child = spawn(program, args, {
      cwd: root,
      env: { ...process.env, PATH: `${inRepository('node_modules/.bin')}:${process.env.PATH}` },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let output = '';
    child.stdout.on('data', (chunk) => {
      output = (output + chunk).slice(-10_000);
      process.stdout.write(chunk);
    });
    child.on('close', (status) => resolve({ status, output }));
  });
}
