import { readdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { InstanceState } from '#api-contract';
import { surplus, survey } from '../../support/leftovers.js';
import { Server, until } from '../../support/server.js';

let server: Server;
const stateOf = (name: string): Promise<InstanceState> => server.api.get(`/1.0/instances/${name}/state`);
const act = (name: string, action: string, force = true): Promise<unknown> =>
  server.api.change('PUT', `/1.0/instances/${name}/state`, { action, force, timeout: 20 });
const monitorOf = (name: string): number => {
  const found = readdirSync('/proc').find((pid) => {
    try {
      return /^\d+$/.test(pid) && new RegExp(`^\\[lxc monitor\\] ${server.dir}/.*-${name}\\b`).test(readFileSync(`/proc/${pid}/cmdline`, 'utf8'));
    } catch {
      return false;
    }
  });
  if (!found) throw new Error(`no monitor of ${name}`);
  return Number(found);
};

beforeAll(async () => {
  server = await Server.start();
  await server.furnish();
  await server.ok(['launch', 'busybox', 'c1']);
}, 120_000);
afterAll(() => server?.stop(), 120_000);

/** It obeys: exec, files, console, stop, start. */
async function obeys(name: string): Promise<void> {
  expect(await server.ok(['exec', name, '--', 'echo', 'hello'])).toBe('hello\n');
  await server.ok(['file', 'push', '-', `${name}/root/word`], { input: 'pushed' });
  expect(await server.ok(['file', 'pull', `${name}/root/word`, '-'])).toBe('pushed');
  expect((await server.api.raw('GET', `/1.0/instances/${name}/console`)).status).toBe(200);
  await act(name, 'stop');
  expect((await stateOf(name)).status).toBe('Stopped');
  await act(name, 'start');
  expect((await stateOf(name)).status).toBe('Running');
}

it('finds what runs after a restart, and has it in hand', async () => {
  const { pid } = await stateOf('c1');
  await server.terminate();
  await server.boot();
  expect((await stateOf('c1')).pid).toBe(pid);
  await obeys('c1');
});

it('follows guests that reboot again and again', async () => {
  const facts = await survey(server);
  for (let round = 0; round < 12; round++) {
    const { pid } = await stateOf('c1');
    await server.lxc(['exec', 'c1', '--', 'reboot', '-f']);
    // Asked all the while: the monitor is in the middle of its end and of its start.
    await until('it has rebooted', async () => {
      const now = await stateOf('c1');
      return now.status === 'Running' && now.pid > 0 && now.pid !== pid;
    });
  }
  expect(await server.ok(['exec', 'c1', '--', 'echo', 'up'])).toBe('up\n');
  await until('all is as before', async () => JSON.stringify(await survey(server)) === JSON.stringify(facts)).catch(async () =>
    expect(surplus(facts, await survey(server))).toEqual({ missing: [], left: [] }),
  );
});

it('obeys after a guest rebooted while the daemon was away', async () => {
  const { pid } = await stateOf('c1');
  await server.ok(['exec', 'c1', '--', 'sh', '-c', '(sleep 1; reboot -f) >/dev/null 2>&1 &']);
  await server.crash();
  await until('the guest went down', () => {
    try {
      process.kill(pid, 0);
      return false;
    } catch {
      return true;
    }
  });
  await server.boot();
  await until('it runs', async () => (await stateOf('c1')).status === 'Running');
  await obeys('c1');
});

it.each(['start', 'stop then start', 'delete'])('a container whose monitor was killed can be told to %s', async (what) => {
  await server.ok(['launch', 'busybox', 'c2']);
  const facts = await survey(server);
  process.kill(monitorOf('c2'), 'SIGKILL');
  if (what === 'stop then start') await server.lxc(['stop', '-f', 'c2']);
  if (what !== 'delete') {
    await until('it is seen to be stopped', async () => (await stateOf('c2')).status === 'Stopped');
    await act('c2', 'start');
    await until('all is as before', async () => JSON.stringify(await survey(server)) === JSON.stringify(facts)).catch(async () =>
      expect(surplus(facts, await survey(server))).toEqual({ missing: [], left: [] }),
    );
    await obeys('c2');
  }
  await server.ok(['delete', '-f', 'c2']);
  await until('nothing of it is left', async () => !(await survey(server)).some((fact) => fact.includes('c2')));
});

it('a start in the moment of an end loses nothing to the cleanup of what ended', async () => {
  await server.ok(['launch', 'busybox', 'c4']);
  const facts = await survey(server);
  for (let round = 0; round < 8; round++) {
    process.kill(monitorOf('c4'), 'SIGKILL');
    await until('it starts', async () => (await act('c4', 'start').catch((error: Error) => error.message)) === null);
    await until('all is as before', async () => JSON.stringify(await survey(server)) === JSON.stringify(facts)).catch(async () =>
      expect(surplus(facts, await survey(server))).toEqual({ missing: [], left: [] }),
    );
  }
  await server.ok(['delete', '-f', 'c4']);
});

it('obeys when a monitor was killed while the daemon was away', async () => {
  await server.ok(['launch', 'busybox', 'c3']);
  const monitor = monitorOf('c3');
  await server.crash();
  process.kill(monitor, 'SIGKILL');
  await server.boot();
  await until('it runs again', async () => (await stateOf('c3')).status === 'Running');
  await obeys('c3');
  await server.ok(['delete', '-f', 'c3']);
  expect((await survey(server)).filter((fact) => fact.includes('c3'))).toEqual([]);
});
