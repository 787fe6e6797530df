import { existsSync, writeFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { root } from '../support/root.js';
import { Server } from '../support/server.js';
import { cases, memoryMb, populate } from './cases.js';
import { higherIsBetter, median, type Case } from './measure.js';

/**
 * The same work on a real LXD (where one is installed) and on Muster, in one run, taking turns, so that what else the machine does meets both. Prints a
 * table; with --write it goes to docs/benchmarks.md.
 */
const { values } = parseArgs({
  options: { driver: { type: 'string', default: 'btrfs' }, only: { type: 'string' }, write: { type: 'boolean', default: false } },
});

const kinds = existsSync('/usr/bin/lxd') ? (['lxd', 'muster'] as const) : (['muster'] as const);
const servers: Server[] = [];
const rows: string[] = [];
const line = (text: string): void => {
  rows.push(text);
  console.log(text);
};

try {
  for (const kind of kinds) servers.push(await Server.start({ kind }));
  line(`| work (${values.driver}) | LXD 5.0.2 | Muster | ratio |\n|---|---|---|---|`);
  show({ name: 'memory, idle', unit: 'MB' }, servers.map(memoryMb));
  for (const server of servers) {
    await server.furnish({ driver: values.driver });
    await server.ok(['launch', 'busybox', 'c1']);
    await populate(server);
  }
  for (const one of cases) {
    if (values.only && !one.name.includes(values.only)) continue;
    const figures: number[][] = servers.map(() => []);
    try {
      for (let round = 0; round < (one.rounds ?? 3); round++) for (const [at, server] of servers.entries()) figures[at]!.push(await one.run(server));
      show(one, figures.map(median));
    } catch (error) {
      line(`| ${one.name} | failed: ${(error as Error).message.split('\n')[0]} | | |`);
    }
  }
  line(`\nLoad average at the end: ${loadavg()[0]!.toFixed(1)}.`);
} finally {
  for (const server of servers) await server.stop();
}
if (values.write)
  writeFileSync(
    join(root, 'docs/benchmarks.md'),
    `# Benchmarks\n\nThe same work on LXD 5.0.2 and on Muster, side by side, taking turns, on one machine of two cores (\`npm run bench -- --write\`). Ratio: how many times better Muster is.\n\n${rows.join('\n')}\n`,
  );

function show({ name, unit }: Pick<Case, 'name' | 'unit'>, figures: number[]): void {
  const [lxd, muster] = figures.length === 2 ? figures : [undefined, figures[0]];
  const text = (figure: number | undefined): string =>
    figure === undefined ? '' : `${figure >= 100 ? figure.toFixed(0) : figure.toFixed(1)} ${unit}`;
  const ratio = lxd === undefined ? '' : (higherIsBetter(unit) ? muster! / lxd : lxd / muster!).toFixed(1);
  line(`| ${name} | ${text(lxd)} | ${text(muster)} | ${ratio} |`);
}
