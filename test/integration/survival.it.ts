import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { InstanceState } from '#api-contract';
import { Server, until } from '../support/server.js';

let server: Server;
const state = (name: string): Promise<InstanceState> => server.api.get(`/1.0/instances/${name}/state`);

beforeAll(async () => {
  server = await Server.start();
  await server.furnish();
  await server.ok(['launch', 'busybox', 'c1']);
}, 120_000);
afterAll(() => server?.stop(), 120_000);

it('keeps containers running while the daemon is killed, and finds them again', async () => {
  const before = await state('c1');
  await server.crash();
  expect(readFileSync(`/proc/${before.pid}/status`, 'utf8')).toContain('State:');
  await server.boot();
  expect((await state('c1')).pid).toBe(before.pid);
  expect(await server.ok(['exec', 'c1', '--', 'echo', 'still here'])).toBe('still here\n');
});

it('starts again, at its start, a container that died meanwhile', async () => {
  await server.ok(['launch', 'busybox', 'c2']);
  const { pid } = await state('c2');
  await server.crash();
  process.kill(pid, 'SIGKILL');
  await server.boot();
  await until('c2 runs again', async () => {
    const { status, pid: now } = await state('c2');
    return status === 'Running' && now !== pid;
  });
  await server.ok(['delete', '-f', 'c2']);
});

it('gives the container nothing of the daemon: limits, oom score, descriptors', async () => {
  const { pid } = await state('c1');
  expect(readFileSync(`/proc/${pid}/oom_score_adj`, 'utf8').trim()).toBe('0');
  expect(readFileSync(`/proc/${pid}/status`, 'utf8')).toMatch(/SigIgn:\s+0000000000000000/);
});

it('stops what runs at a shutdown, and starts it again', async () => {
  const { pid } = await state('c1');
  await server.muster(['shutdown']);
  expect(await server.ended()).toBe(0);
  expect(() => process.kill(pid, 0)).toThrow();
  await server.boot();
  await until('c1 runs again', async () => (await state('c1')).status === 'Running');
});

it('loses no acknowledged write to kill -9', async () => {
  for (let round = 0; round < 3; round++) {
    const acknowledged: string[] = [];
    const writing = (async () => {
      for (let number = 0; ; number++) {
        const name = `p${round}-${number}`;
        await server.api.change('POST', '/1.0/profiles', { name });
        acknowledged.push(name);
      }
    })().catch(() => undefined);
    await until('some writes', () => acknowledged.length >= 20);
    await server.crash();
    await writing;
    await server.boot();
    const there = new Set(await server.api.get<string[]>('/1.0/profiles'));
    expect(acknowledged.filter((name) => !there.has(`/1.0/profiles/${name}`))).toEqual([]);
  }
});
