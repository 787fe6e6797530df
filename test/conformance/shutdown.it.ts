import { expect, it } from 'vitest';
import { covers } from '../support/covers.js';
import { Server, until } from '../support/server.js';

it('instances are stopped when the host goes down, by their priority, each in its time, and run again after', async () => {
  covers('container_stop_priority', 'container_host_shutdown_timeout');
  await using server = await Server.start();
  await server.furnish({ network: false });
  for (const [name, priority] of [
    ['late', '1'],
    ['early', '9'],
  ] as const)
    await server.ok(['launch', 'busybox', name, '-c', `boot.stop.priority=${priority}`, '-c', 'boot.host_shutdown_timeout=2']);
  // One that does not heed the request to stop.
  await server.ok(['exec', 'early', '--', 'sh', '-c', 'kill -STOP 1; true']);
  const monitor = server.lxc(['monitor', '--type', 'lifecycle', '--format', 'json'], { timeoutMs: 50_000 });
  await new Promise((resolve) => setTimeout(resolve, 500));
  const beganMs = Date.now();
  await server.api.change('PUT', '/internal/shutdown').catch(() => undefined);
  await server.ended();
  expect(Date.now() - beganMs).toBeLessThan(25_000);
  const stopped = (await monitor).stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => (JSON.parse(line) as { metadata: { action: string; source: string } }).metadata)
    .filter(({ action }) => /^instance-(stopped|shutdown)$/.test(action))
    .map(({ source }) => source);
  expect(stopped.filter((source) => source.endsWith('/early') || source.endsWith('/late'))).toEqual(['/1.0/instances/early', '/1.0/instances/late']);
  await server.boot();
  await until('both run again', async () => (await server.ok(['list', '-c', 's', '--format', 'csv'])).match(/RUNNING/g)?.length === 2);
});
