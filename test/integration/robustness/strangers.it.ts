import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { request } from 'node:https';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Server, until } from '../../support/server.js';

let server: Server;
const port = 20_000 + (process.pid % 10_000);
const address = `127.0.0.1:${port}`;
const pems: Record<'trusted' | 'stranger', { cert: string; key: string }> = {} as never;

beforeAll(async () => {
  server = await Server.start();
  await server.api.change('PATCH', '/1.0', { config: { 'core.https_address': address, 'core.trust_password': 'right' } });
  for (const who of ['trusted', 'stranger'] as const) {
    const file = join(server.dir, 'client', who);
    const subject = ['-subj', `/CN=${who}`, '-days', '10'];
    execFileSync(
      'openssl',
      ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', `${file}.key`, '-out', `${file}.crt`, ...subject],
      {
        stdio: 'ignore',
      },
    );
    pems[who] = { cert: readFileSync(`${file}.crt`, 'utf8'), key: readFileSync(`${file}.key`, 'utf8') };
  }
  const certificate = pems.trusted.cert.replace(/-----.*-----|\s/g, '');
  await server.api.change('POST', '/1.0/certificates', { name: 'trusted', type: 'client', certificate });
}, 120_000);
afterAll(() => server?.stop(), 120_000);

const descriptors = (): number => readdirSync(`/proc/${server.pid}/fd`).length;
const rssMiB = (): number => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${server.pid}/status`, 'utf8'))![1]) / 1024;

function https(who: 'trusted' | 'stranger', method: string, path: string, body?: object): Promise<{ status: number; text: string; ms: number }> {
  const started = performance.now();
  return new Promise((resolve, reject) => {
    const call = request(
      {
        host: '127.0.0.1',
        port,
        method,
        path,
        ...pems[who],
        rejectUnauthorized: false,
        agent: false,
        headers: { 'content-type': 'application/json' },
      },
      (answer) => {
        const chunks: Buffer[] = [];
        answer.on('data', (chunk: Buffer) => chunks.push(chunk));
        answer.on('end', () => resolve({ status: answer.statusCode!, text: Buffer.concat(chunks).toString(), ms: performance.now() - started }));
      },
    );
    call.on('error', reject);
    call.end(body && JSON.stringify(body));
  });
}

it.each(['the unix socket', 'HTTPS'])('a thousand silent connections on %s keep nobody out', { timeout: 120_000 }, async (where) => {
  const before = { fds: descriptors(), memory: rssMiB() };
  const silent: Socket[] = [];
  for (let number = 0; number < 1000; number++) {
    const socket = where === 'HTTPS' ? connect(port, '127.0.0.1') : connect(server.api.socketPath);
    socket.on('error', () => undefined);
    // An end that nobody reads is not told.
    socket.resume();
    silent.push(socket);
    if (number % 100 === 99) await sleep(10);
  }
  await until('they are open', () => descriptors() >= before.fds + 500, 10_000).catch(() => undefined);
  const open = descriptors() - before.fds;
  const [unix, net] = [await timed(() => server.api.get('/1.0')), await https('trusted', 'GET', '/1.0')];
  console.log(
    `1,000 silent on ${where}: ${open} open; GET /1.0 by unix ${unix.toFixed(0)} ms, by HTTPS ${net.ms.toFixed(0)} ms; RSS ${before.memory.toFixed(0)} → ${rssMiB().toFixed(0)} MiB`,
  );
  expect(net.status).toBe(200);
  expect(rssMiB()).toBeLessThan(before.memory + 100);
  const closed = new Promise<void>((resolve) => (where === 'HTTPS' ? silent[0]!.once('close', () => resolve()) : resolve()));
  // Who says nothing is sent away: none of them has to go by itself.
  await Promise.race([closed, sleep(60_000).then(() => Promise.reject(new Error('still open after a minute')))]);
  for (const socket of silent) socket.destroy();
  await until('all are closed', () => descriptors() <= before.fds + 3);
});

async function timed(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

it('answers bad bodies clearly, and is none the worse for them', async () => {
  const fds = descriptors();
  const json = { 'content-type': 'application/json' };
  const big = await server.api
    .raw('POST', '/1.0/profiles', Buffer.concat([Buffer.from('{"name":"'), Buffer.alloc(20 * 2 ** 20, 'x'), Buffer.from('"}')]), json)
    .catch((error: NodeJS.ErrnoException) => ({ status: 0, text: String(error.code) }));
  console.log(`20 MB: ${big.status} ${big.text.slice(0, 120)}`);
  expect(big.status).toBe(413);
  const cut = await new Promise<string>((resolve) => {
    const socket = connect(server.api.socketPath, () => {
      socket.write('POST /1.0/profiles HTTP/1.1\r\nHost: m\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"name": "half');
      socket.end();
    });
    let said = '';
    socket.on('data', (chunk: Buffer) => (said += chunk.toString()));
    socket.on('close', () => resolve(said));
    socket.on('error', () => undefined);
  });
  console.log(`cut in half: ${cut.split('\r\n')[0]}`);
  for (const [body, what] of [
    ['{"name": "half', 'half a document'],
    ['[]', 'a list'],
    ['{"name": 5}', 'a number'],
    ['{"name": "a/b"}', 'a slash'],
    ['{"name": ".."}', 'two dots'],
    ['{"name": "p", "config": {"limits.memory": {}}}', 'a map'],
    ['{"name": "p", "config": {"no.such": "x"}}', 'an unknown key'],
  ] as const) {
    const { status, text } = await server.api.raw('POST', '/1.0/profiles', body, json);
    console.log(`${what}: ${status} ${text.slice(0, 140)}`);
    expect(status).toBeGreaterThanOrEqual(400);
    expect(text).not.toMatch(/TypeError|undefined|Internal error/);
  }
  expect(await server.api.get<string[]>('/1.0/profiles')).toEqual(['/1.0/profiles/default']);
  await until('nothing is held', () => descriptors() <= fds + 2);
});

it('a trust password is not to be guessed, and trusted clients feel nothing of who tries', { timeout: 120_000 }, async () => {
  const started = Date.now();
  let [tries, over] = [0, false];
  const statuses = new Map<number, number>();
  const guess = async (): Promise<void> => {
    while (!over) {
      const { status } = await https('stranger', 'POST', '/1.0/certificates', { type: 'client', password: `wrong${tries++}` }).catch(() => ({
        status: 0,
      }));
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
    }
  };
  const guessing = Array.from({ length: 8 }, guess);
  const felt: number[] = [];
  for (let round = 0; round < 20; round++) {
    const { status, ms } = await https('trusted', 'GET', '/1.0/profiles');
    expect(status).toBe(200);
    felt.push(ms);
    await sleep(250);
  }
  over = true;
  await Promise.all(guessing);
  const seconds = (Date.now() - started) / 1000;
  const checked = statuses.get(403) ?? 0;
  felt.sort((a, b) => a - b);
  console.log(
    `${tries} tries in ${seconds.toFixed(1)} s: ${JSON.stringify([...statuses])}; a trusted client's request meanwhile: median ${felt[10]!.toFixed(0)} ms, longest ${felt.at(-1)!.toFixed(0)} ms`,
  );
  expect(checked / seconds).toBeLessThan(20);
  expect(await server.api.get<string[]>('/1.0/certificates')).toHaveLength(1);
});
