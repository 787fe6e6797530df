// What both commands need before they can do anything: a Linux machine, root, Debian's packages, npm's packages, a build. Runs under Node 20 with
// nothing installed, says what it does, and stops with one sentence when something cannot be had.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { inRepository, locateNode, node, root } from './repository.mjs';

/** Program → the Debian package that has it. The list that deploy/packages.txt documents. */
const programs = {
  'lxc-start': 'lxc',
  lxc: 'lxd-client',
  newuidmap: 'uidmap',
  dnsmasq: 'dnsmasq-base',
  nft: 'nftables',
  ip: 'iproute2',
  btrfs: 'btrfs-progs',
  unsquashfs: 'squashfs-tools',
  xz: 'xz-utils',
  zstd: 'zstd',
  lz4: 'lz4',
  bzip2: 'bzip2',
  rsync: 'rsync',
  setfattr: 'attr',
  setfacl: 'acl',
  busybox: 'busybox-static',
  openssl: 'openssl',
};

export function say(text) {
  process.stderr.write(`${text}\n`);
}

export function stop(sentence) {
  say(`muster: ${sentence}`);
  process.exit(1);
}

/** Brings everything that is missing. Quick when nothing is. `tests`: builds them too, not only the product. */
export function setUp({ tests = true } = {}) {
  if (process.platform !== 'linux') stop('this needs Linux.');
  if (process.getuid() !== 0) stop('this needs root: containers, bridges and mounts are made.');
  if (Number(process.versions.node.split('.')[0]) < 20) stop(`this needs Node 20 or later, and ${process.version} runs it.`);
  installPrograms();
  installPackages();
  locateNode();
  build(tests);
}

const path = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];
const has = (program) => path.some((directory) => existsSync(join(directory, program)));

function installPrograms() {
  const missing = [
    ...new Set(
      Object.entries(programs)
        .filter(([program]) => !has(program))
        .map(([, name]) => name),
    ),
  ];
  if (missing.length === 0) return;
  if (!existsSync('/usr/bin/apt-get')) stop(`these are missing, and there is no apt-get to install them: ${missing.join(' ')}.`);
  say(`Installing Debian packages: ${missing.join(' ')}`);
  // The package lxc would start a bridge of its own (lxc-net). Nobody asked for it; where lxc is new on this machine, it stays off.
  if (missing.includes('lxc') && !existsSync('/etc/default/lxc-net')) writeFileSync('/etc/default/lxc-net', 'USE_LXC_BRIDGE="false"\n');
  const environment = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const install = () =>
    spawnSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...missing], { env: environment, stdio: ['ignore', 'ignore', 'pipe'] });
  let done = install();
  if (done.status !== 0) {
    spawnSync('apt-get', ['update', '-qq'], { env: environment, stdio: 'ignore' });
    done = install();
  }
  if (done.status !== 0) stop(`apt-get could not install ${missing.join(' ')}: ${done.stderr.toString().trim().split('\n').pop()}`);
}

function installPackages() {
  const stamp = inRepository('node_modules/.muster-installed');
  const lock = readFileSync(inRepository('package-lock.json'), 'utf8');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === lock) return;
  say('Installing npm packages');
  const done = spawnSync('npm', ['ci', '--no-audit', '--no-fund', '--ignore-scripts', '--loglevel=error'], {
    cwd: root,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  if (done.status !== 0) stop(`npm could not install the packages: ${firstError(done.stderr.toString())}`);
  writeFileSync(stamp, lock);
  const link = inRepository('node_modules/.bin/muster');
  rmSync(link, { force: true });
  symlinkSync('../../bin/muster', link);
}

/** npm's first line that says what is wrong; its last names a log file. */
const firstError = (text) =>
  text
    .split('\n')
    .find((line) => /^npm error (?!code|A complete log)/.test(line))
    ?.slice('npm error '.length) ?? text.trim();

const sources = ['apps', 'libs', 'package-lock.json', 'tsconfig.json', 'tsconfig.build.json', 'package.json'];

function build(tests) {
  const stamp = inRepository(tests ? 'dist/.built-with-tests' : 'dist/.built');
  if (existsSync(stamp) && newest([...sources, ...(tests ? ['test', 'vitest.config.ts'] : [])].map(inRepository)) <= statSync(stamp).mtimeMs) return;
  say('Building');
  const started = new Date();
  const done = spawnSync(
    node,
    [inRepository('node_modules/typescript7/bin/tsc'), '-p', inRepository(tests ? 'tsconfig.json' : 'tsconfig.build.json')],
    { cwd: root },
  );
  if (done.status !== 0) {
    say(done.stdout.toString());
    stop('the build failed.');
  }
  mkdirSync(inRepository('dist'), { recursive: true });
  writeFileSync(stamp, started.toISOString());
}

function newest(paths) {
  let latest = 0;
  for (const path of paths) {
    const about = statSync(path, { throwIfNoEntry: false });
    if (!about) continue;
    latest = Math.max(latest, about.mtimeMs);
    if (about.isDirectory()) latest = Math.max(latest, newest(readdirSync(path).map((name) => join(path, name))));
  }
  return latest;
}
