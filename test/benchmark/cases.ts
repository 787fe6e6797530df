import { randomBytes } from 'node:crypto';
import { createReadStream, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Profile } from '#api-contract';
import type { Server } from '../support/server.js';
import { each, rate, type Case } from './measure.js';

const count = Number(process.env.BENCH_INSTANCES ?? 1000);
let serial = 0;
const fresh = (): string => `b${++serial}`;

/** Empty stopped instances, for the lists. */
export async function populate(server: Server): Promise<void> {
  await rate(count, 8, (index) => server.api.change('POST', '/1.0/instances', { name: `e${index}`, source: { type: 'none' } }));
  await rate(count, 8, (index) => server.api.change('POST', '/1.0/profiles', { name: `p${index}`, config: { 'user.x': 'y' } }));
}

const patch = (server: Server, index: number): Promise<unknown> =>
  server.api.change('PATCH', `/1.0/profiles/p${index % 16}`, { config: { 'user.n': String(++serial) } });

async function launch(server: Server): Promise<string> {
  const name = fresh();
  await server.api.change('POST', '/1.0/instances', { name, source: { type: 'image', alias: 'busybox' } });
  await server.api.change('PUT', `/1.0/instances/${name}/state`, { action: 'start', timeout: 30 });
  return name;
}

const stop = (server: Server, name: string): Promise<unknown> =>
  server.api.change('PUT', `/1.0/instances/${name}/state`, { action: 'stop', force: true, timeout: 10 });

async function remove(server: Server, name: string): Promise<void> {
  await stop(server, name).catch(() => undefined);
  await server.api.change('DELETE', `/1.0/instances/${name}`);
}

/** Megabytes of the daemon and of what it keeps running beside the containers' own processes (monitors, dnsmasq). */
export function memoryMb(server: Server): number {
  const pids = new Set([server.pid]);
  const table = readProcesses();
  for (const { pid, command } of table) if (command.includes(server.dir)) pids.add(pid);
  return [...pids].reduce((sum, pid) => sum + rssMb(pid), 0);
}

function readProcesses(): { pid: number; command: string }[] {
  const found: { pid: number; command: string }[] = [];
  for (let pid = 2; pid < 4_194_304; pid++) {
    if (found.length > 0 && pid > lastPid() + 1) break;
    try {
      found.push({ pid, command: readFileSync(`/proc/${pid}/cmdline`, 'latin1') });
    } catch {
      // No such process.
    }
  }
  return found;
}

const lastPid = (): number => Number(readFileSync('/proc/loadavg', 'utf8').trim().split(' ').at(-1));

/** Proportional, so that pages shared by many monitors count once. */
function rssMb(pid: number): number {
  try {
    const match = /^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'));
    return Number(match?.[1] ?? 0) / 1024;
  } catch {
    return 0;
  }
}

/** On a populated server, with a running container `c1`. */
export const cases: Case[] = [
  { name: 'GET /1.0', unit: 'ms', run: (server) => each(200, () => server.api.get('/1.0')) },
  {
    name: `list of ${count} stopped instances, recursion 1`,
    unit: 'ms',
    run: (server) => each(10, () => server.api.raw('GET', '/1.0/instances?recursion=1')),
  },
  {
    name: `list of ${count} stopped instances, recursion 2`,
    unit: 'ms',
    run: (server) => each(5, () => server.api.raw('GET', '/1.0/instances?recursion=2')),
  },
  {
    name: `list of ${count} profiles, recursion 1`,
    unit: 'ms',
    run: (server) => each(5, () => server.api.get<Profile[]>('/1.0/profiles?recursion=1')),
  },
  { name: 'profile PATCH, one at a time', unit: '/s', run: (server) => rate(100, 1, (index) => patch(server, index)) },
  { name: 'profile PATCH, 16 at once', unit: '/s', run: (server) => rate(400, 16, (index) => patch(server, index)) },
  {
    name: 'create of an empty instance',
    unit: 'ms',
    run: async (server) => {
      const names: string[] = [];
      const took = await each(10, async () => {
        const name = fresh();
        names.push(name);
        await server.api.change('POST', '/1.0/instances', { name, source: { type: 'none' } });
      });
      for (const name of names) await remove(server, name);
      return took;
    },
  },
  {
    name: 'launch (create and start) from an image',
    unit: 'ms',
    run: async (server) => {
      const names: string[] = [];
      const took = await each(5, async () => void names.push(await launch(server)));
      for (const name of names) await remove(server, name);
      return took;
    },
  },
  {
    name: 'stop, forced',
    unit: 'ms',
    run: async (server) => {
      const names: string[] = [];
      for (let index = 0; index < 5; index++) names.push(await launch(server));
      const took = await each(5, (index) => stop(server, names[index]!));
      for (const name of names) await remove(server, name);
      return took;
    },
  },
  {
    name: '20 launches at once',
    unit: 'ms',
    rounds: 1,
    run: async (server) => {
      const names: string[] = [];
      const took = await each(1, () => Promise.all(Array.from({ length: 20 }, async () => names.push(await launch(server)))));
      for (const name of names) await remove(server, name);
      return took;
    },
  },
  { name: 'lxc exec of true', unit: 'ms', run: (server) => each(10, () => server.ok(['exec', 'c1', '--', 'true'])) },
  {
    name: 'exec without websockets, of true',
    unit: 'ms',
    run: (server) =>
      each(20, () =>
        server.api.change('POST', '/1.0/instances/c1/exec', {
          command: ['true'],
          'record-output': false,
          'wait-for-websocket': false,
          interactive: false,
        }),
      ),
  },
  {
    name: 'exec output through lxc, 200 MB',
    unit: 'MB/s',
    run: async (server) =>
      200_000 / (await each(1, () => server.run('/bin/sh', ['-c', 'lxc exec c1 -- dd if=/dev/zero bs=1M count=200 2>/dev/null >/dev/null'], {}))),
  },
  {
    name: 'file push of 200 MB',
    unit: 'MB/s',
    run: async (server) => {
      const file = join(server.dir, 'client/big');
      writeFileSync(file, randomBytes(200_000_000));
      const took = await each(1, () => server.api.raw('POST', '/1.0/instances/c1/files?path=/root/big', createReadStream(file)));
      rmSync(file);
      return 200_000 / took;
    },
  },
  {
    name: 'file pull of 200 MB',
    unit: 'MB/s',
    run: async (server) => 200_000 / (await each(1, () => server.run('/bin/sh', ['-c', 'lxc file pull c1/root/big - >/dev/null'], {}))),
  },
  {
    name: 'file push, small',
    unit: 'ms',
    run: (server) => each(50, (index) => server.api.raw('POST', `/1.0/instances/c1/files?path=/root/f${index}`, 'hello')),
  },
  {
    name: 'image import of 300 MB',
    unit: 'MB/s',
    rounds: 1,
    run: async (server) => {
      const file = join(server.dir, 'client/image.tar');
      const script = `cd ${join(server.dir, 'client')} && rm -rf img && mkdir -p img/rootfs/sbin && echo '{"architecture":"x86_64","creation_date":1,"properties":{"os":"x"}}' > img/metadata.yaml && head -c 300000000 /dev/urandom > img/rootfs/big && tar -C img -cf image.tar metadata.yaml rootfs && rm -rf img`;
      await server.run('/bin/sh', ['-c', script], {});
      let fingerprint = '';
      const took = await each(1, async () => {
        ({ fingerprint } = (await server.api.upload('/1.0/images', file)) as { fingerprint: string });
      });
      rmSync(file);
      await server.api.change('DELETE', `/1.0/images/${fingerprint}`);
      return 300_000 / took;
    },
  },
  { name: 'memory after all this', unit: 'MB', rounds: 1, run: async (server) => memoryMb(server) },
  {
    name: 'memory with 50 containers (daemon, monitors, dnsmasq)',
    unit: 'MB',
    rounds: 1,
    run: async (server) => {
      const names: string[] = [];
      await rate(50, 4, async () => void names.push(await launch(server)));
      const used = memoryMb(server);
      for (const name of names) await remove(server, name);
      return used;
    },
  },
];
