// npm run sim -- [--seeds N] [--from FIRST] [--profile P]: runs whole clusters in virtual time, one for each seed. One seed again, with the story of
// what happened: --seeds 1 --from SEED. Exits 1 if any seed breaks a rule; ends with what ran, and `N passed, N failed` seeds.
import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import { node } from './lib/repository.mjs';
import { setUp } from './lib/setup.mjs';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1000' },
    from: { type: 'string', default: '1' },
    profile: { type: 'string' },
    /** Lines of a failing run's story to show. */
    lines: { type: 'string', default: '60' },
    'no-shrink': { type: 'boolean', default: false },
  },
});
setUp();
// Whatever Node npm runs under: the simulator is for the one that the project pins.
if (process.execPath !== node && process.env.MUSTER_SIM_NODE === undefined) {
  const again = spawnSync(node, process.argv.slice(1), { stdio: 'inherit', env: { ...process.env, MUSTER_SIM_NODE: node } });
  process.exit(again.status ?? 1);
}
const { profiles, shrink } = await import('../dist/libs/testkit/src/simulator/index.js');

const first = Number(values.from);
const seeds = Number(values.seeds);
const chosen = values.profile ? [values.profile] : Object.keys(profiles);
for (const name of chosen) {
  if (!profiles[name]) {
    console.error(`there is no profile ${name}; there are ${Object.keys(profiles).join(', ')}`);
    process.exit(2);
  }
}

let passed = 0;
let failed = 0;
let virtualMs = 0;
const started = performance.now();
for (const name of chosen) {
  const profile = profiles[name];
  // Where no profile is named, the costly ones get a share of the seeds.
  const share = values.profile ? seeds : Math.ceil(seeds * profile.share);
  const begun = performance.now();
  const counts = {};
  for (let seed = first; seed < first + share; seed++) {
    const outcome = await profile.run(profile.draw(seed));
    virtualMs += outcome.ranMs;
    for (const [what, count] of Object.entries(outcome.counts)) counts[what] = (counts[what] ?? 0) + count;
    if (!outcome.violation) passed++;
    else {
      failed++;
      await tell(profile, name, seed, outcome);
    }
  }
  const ms = (performance.now() - begun) / share;
  console.log(
    `${name}: ${share} seeds, ${ms.toFixed(1)} ms each; ${Object.entries(counts)
      .map(([what, count]) => `${what} ${count}`)
      .join(', ')}`,
  );
}
const seconds = Math.round((performance.now() - started) / 1000);
const hours = (virtualMs / 3_600_000).toFixed(2);
console.log(`${passed + failed} seeds, ${hours} virtual hours, ${failed} failures, ${seconds} s: ${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);

async function tell(profile, name, seed, outcome) {
  console.log(`\nseed ${seed} of profile ${name} FAILED: ${outcome.violation.message}`);
  console.log(`again: npm run sim -- --seeds 1 --from ${seed} --profile ${name}`);
  if (seeds > 1 && failed > 3) return;
  const plan = values['no-shrink'] ? profile.draw(seed) : await shrink(profile.draw(seed), profile.run);
  const again = await profile.run(plan, { trace: true });
  console.log(`the shortest plan that breaks the same rule:\n${JSON.stringify(plan)}\nits last lines:`);
  for (const line of again.trace.slice(-Number(values.lines))) console.log(line);
  console.log();
}
