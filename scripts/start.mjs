// npm start: sets up what is missing, brings Muster up with a container to play with, and stays in the foreground until Ctrl-C.
//   npm start -- [--members N] [--dir DIR] [--detach] [--stop] [--no-demo]
import { spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Api } from './lib/api.mjs';
import { makeBusyboxImage } from './lib/busybox-image.mjs';
import { inRepository } from './lib/repository.mjs';
import { say, setUp, stop } from './lib/setup.mjs';

const { values } = parseArgs({
  options: {
    members: { type: 'string', default: '1' },
    dir: { type: 'string', default: '/var/lib/muster-start' },
    detach: { type: 'boolean', default: false },
    stop: { type: 'boolean', default: false },
    'no-demo': { type: 'boolean', default: false },
  },
});
const count = Number(values.members);
if (!Number.isInteger(count) || count < 1) stop(`--members takes a number from 1, not '${values.members}'.`);

const members = Array.from({ length: count }, (_, index) => {
  const directory = `${values.dir}/m${index + 1}`;
  return {
    name: `m${index + 1}`,
    address: `127.0.1.${index + 1}:8443`,
    directory,
    api: new Api(`${directory}/unix.socket`),
    pidFile: `${directory}/muster.pid`,
  };
});

let stopping = false;

if (values.stop) {
  await stopMembers();
  process.exit(0);
}

setUp({ tests: false });
for (const member of members) startMember(member);
process.on('SIGINT', () => void finish());
process.on('SIGTERM', () => void finish());
for (const member of members) await ready(member);
await configure(members[0]);
if (count > 1) await formCluster();
if (!values['no-demo']) for (const member of members) await demo(member);

if (values.detach) {
  console.log(JSON.stringify(members.map(({ name, address, directory, pid }) => ({ name, address, directory, pid }))));
  for (const { child } of members) child?.unref();
  process.exit(0);
}
await show();

function startMember(member) {
  mkdirSync(member.directory, { recursive: true, mode: 0o711 });
  const running = existsSync(member.pidFile) ? Number(readFileSync(member.pidFile, 'utf8')) : 0;
  if (running && alive(running)) {
    // Of several, those that run go on: this brings back the one that was killed.
    if (count > 1) return void (member.pid = running);
    stop(`a member already runs in ${member.directory}; stop it with: npm start -- --dir ${values.dir} --stop`);
  }
  const log = openSync(`${member.directory}/muster.log`, 'a', 0o600);
  const environment = { ...process.env, MUSTER_DIR: member.directory, LXD_DIR: member.directory, NO_COLOR: values.detach ? '1' : '' };
  // A session of its own: Ctrl-C reaches this script, which stops the members in order.
  member.child = spawn(inRepository('bin/muster'), ['daemon', '--verbose'], {
    env: environment,
    detached: true,
    stdio: ['ignore', values.detach ? log : 'inherit', values.detach ? log : 'inherit'],
  });
  closeSync(log);
  member.pid = member.child.pid;
  writeFileSync(member.pidFile, String(member.pid));
  member.child.on('exit', (code) => {
    rmSync(member.pidFile, { force: true });
    if (stopping) return;
    const words = `member ${member.name} ended with status ${code}; its directory is ${member.directory}.`;
    // The others go on without it.
    if (count > 1) say(words);
    else stop(words);
  });
}

async function ready({ name, api }) {
  for (const end = Date.now() + 60_000; ;) {
    try {
      await api.get('/internal/ready');
      return;
    } catch (error) {
      if (Date.now() > end) stop(`member ${name} does not answer: ${error.message}.`);
      await sleep(50);
    }
  }
}

/** First start only: a listener, a pool, a bridge of its own, and both in the default profile. */
async function configure({ name, address, api }) {
  const server = await api.get('/1.0');
  if (server.config['core.https_address'] !== address) {
    await api
      .change('PATCH', '/1.0', { config: { 'core.https_address': address } })
      .catch((error) => say(`${name}: ${address} is not listened on: ${error.message}`));
  }
  if ((await api.get('/1.0/storage-pools')).length > 0) return;
  await api.change('POST', '/1.0/storage-pools', { name: 'default', driver: 'dir' });
  const root = { type: 'disk', path: '/', pool: 'default' };
  if (count > 1) {
    // A bridge is made on every member with the same addresses: on one host they would be in each other's way.
    await api.change('PUT', '/1.0/profiles/default', { description: 'Default profile', config: {}, devices: { root } });
    return;
  }
  const bridge = `muster${process.pid % 100000}`.slice(0, 15);
  await api.change('POST', '/1.0/networks', { name: bridge, type: 'bridge', config: { 'ipv6.address': 'none' } });
  const devices = { root, eth0: { type: 'nic', network: bridge, name: 'eth0' } };
  await api.change('PUT', '/1.0/profiles/default', { description: 'Default profile', config: {}, devices });
}

/** First start only: the first member begins the cluster, the others join it one after the other, by token. */
async function formCluster() {
  const [first, ...others] = members;
  if (!(await first.api.get('/1.0/cluster')).enabled) {
    await first.api.change('PUT', '/1.0/cluster', { enabled: true, server_name: first.name });
  }
  for (const { name, address, api } of others) {
    if ((await api.get('/1.0/cluster')).enabled) continue;
    const { metadata } = await first.api.call('POST', '/1.0/cluster/members', JSON.stringify({ server_name: name }), {
      'content-type': 'application/json',
    });
    const { serverName, fingerprint, addresses, secret, expiresAt } = metadata.metadata;
    const token = { server_name: serverName, fingerprint, addresses, secret, expires_at: expiresAt };
    const began = performance.now();
    await api.change('PUT', '/1.0/cluster', {
      enabled: true,
      server_name: name,
      server_address: address,
      cluster_token: Buffer.from(JSON.stringify(token)).toString('base64'),
      member_config: [],
    });
    say(`${name}: joined in ${Math.round(performance.now() - began)} ms`);
  }
}

async function demo({ name, api, directory }) {
  const aliases = await api.get('/1.0/images/aliases');
  if (!aliases.includes('/1.0/images/aliases/busybox')) {
    say(`${name}: making a small busybox image and importing it`);
    const image = makeBusyboxImage(`${directory}/busybox.tar.gz`);
    const { fingerprint } = await api.upload('/1.0/images', image, { 'x-lxd-filename': 'busybox.tar.gz' });
    rmSync(image);
    await api.change('POST', '/1.0/images/aliases', { name: 'busybox', target: fingerprint });
  }
  const container = `hello-${name}`;
  const instances = await api.get('/1.0/instances');
  if (!instances.includes(`/1.0/instances/${container}`)) {
    say(`${name}: launching ${container}`);
    const target = count > 1 ? `?target=${name}` : '';
    await api.change('POST', `/1.0/instances${target}`, { name: container, source: { type: 'image', alias: 'busybox' } });
  }
  const { status } = await api.get(`/1.0/instances/${container}`);
  // After a restart the server may be starting it already: then that is what to wait for.
  if (status !== 'Running') await api.change('PUT', `/1.0/instances/${container}/state`, { action: 'start', timeout: 30 }).catch(() => undefined);
  for (const end = Date.now() + 30_000; ; await sleep(50)) {
    if ((await api.get(`/1.0/instances/${container}`)).status === 'Running') return;
    if (Date.now() > end) stop(`the container ${container} does not start; see ${directory}/logs/${container}.`);
  }
}

async function show() {
  const [first] = members;
  await new Promise((resolve) =>
    spawn('lxc', ['list'], { env: { ...process.env, LXD_DIR: first.directory }, stdio: ['ignore', 'inherit', 'inherit'] })
      .on('exit', resolve)
      .on('error', resolve),
  );
  say(
    `\nMuster is up. Use it from another terminal:\n\n  export LXD_DIR=${first.directory}\n  lxc list\n  lxc launch busybox mine\n  lxc exec mine -- sh\n\nHTTPS: ${members.map(({ address }) => `https://${address}`).join(', ')}\nCtrl-C stops it, containers included.`,
  );
}

async function finish() {
  if (stopping) return;
  stopping = true;
  say('\nStopping');
  await stopMembers();
  process.exit(0);
}

/** All at once: the last one of a cluster would wait for a majority that is gone. Containers first, while there is one. */
async function stopMembers() {
  if (count > 1) {
    const stopAll = { state: { action: 'stop', force: true, timeout: 10 } };
    await Promise.all(members.map(({ api }) => api.change('PUT', '/1.0/instances', stopAll).catch(() => undefined)));
  }
  await Promise.all(members.map(stopMember));
}

async function stopMember({ name, api, pidFile }) {
  stopping = true;
  const pid = existsSync(pidFile) ? Number(readFileSync(pidFile, 'utf8')) : 0;
  await api.change('PUT', '/internal/shutdown').catch(() => undefined);
  for (const end = Date.now() + 60_000; pid && alive(pid); await sleep(50)) {
    if (Date.now() > end) stop(`member ${name} (process ${pid}) does not end.`);
  }
  rmSync(pidFile, { force: true });
}

function alive(pid) {
  try {
    process.kill(pid, 0);
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('muster');
  } catch {
    return false;
  }
}
