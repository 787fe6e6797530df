/** Figures of one member, from dist: `node dist/libs/replica/src/engine/testing/measure.js`; MUSTER_FSYNC_DELAY=5ms shows what group commit is worth. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openReplica, type Replica } from '../../index.js';
import { internalIdentity } from '../../state/command.js';
import { built } from './dist.js';
import { addPet, petsWing, savePet } from './fixture.js';

const stateDir = mkdtempSync(join(tmpdir(), 'muster-measure-'));
const by = { identity: internalIdentity };
const times = Number(process.argv[2] ?? 1000);
let n = 0;
const name = (): string => `p${(n += 1)}`;

const open = (): Promise<Replica> => openReplica({ stateDir, wings: [petsWing], worker: built('./pets-worker.js') });
async function took(work: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await work();
  return performance.now() - startMs;
}
async function atOnce(width: number, total: number, work: () => Promise<unknown>): Promise<number> {
  let left = total;
  return took(() =>
    Promise.all(
      [...Array(width)].map(async () => {
        while ((left -= 1) >= 0) await work();
      }),
    ),
  );
}
const say = (what: string, value: number, unit: string): void =>
  console.log(`${what.padEnd(40)} ${value.toFixed(value < 10 ? 1 : 0).padStart(8)} ${unit}`);

const bareMb = process.memoryUsage().rss / 1e6;
let replica = await open();
await replica.close();
const startMs = await took(async () => void (replica = await open()));
say('warm start', startMs, 'ms');
const submit = (): Promise<unknown> => replica.submit(addPet, { name: name() }, by);
await atOnce(4, 300, submit);
say('submit, one at a time', ((await atOnce(1, times, submit)) * 1000) / times, 'µs');
say('submit by TypeORM, one at a time', ((await atOnce(1, times, () => replica.submit(savePet, { name: name() }, by))) * 1000) / times, 'µs');
for (const width of [16, 64, 256]) say(`submits, ${width} at once`, (times * 4) / ((await atOnce(width, times * 4, submit)) / 1000), '/s');
say('dry run', ((await atOnce(1, times, () => replica.dryRun(addPet, { name: name() }, by))) * 1000) / times, 'µs');
say('barrier, one at a time', ((await atOnce(1, times, () => replica.barrier())) * 1000) / times, 'µs');
say('barrier, 1000 waiting', ((await took(() => Promise.all([...Array(1000)].map(() => replica.barrier())))) * 1000) / 1000, 'µs each');
say('memory above a bare process', process.memoryUsage().rss / 1e6 - bareMb, 'MB');
say('compact', await took(() => replica.compact()), 'ms');
const before = process.cpuUsage();
await new Promise((resolve) => setTimeout(resolve, 3000));
const { user, system } = process.cpuUsage(before);
say('idle', (user + system) / 30_000, '% of a core');
say('close', await took(() => replica.close()), 'ms');
rmSync(stateDir, { recursive: true });
