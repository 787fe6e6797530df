import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, chmodSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { createHash } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { silent } from '#kit';
import { baseIdmap, detectCgroups } from '#host-kit';
import type { Ending, ExecRequest, StartSpec } from '../driver.js';
import { cannotRunContainers, makeBusyboxRootfs } from '../testing/busybox-rootfs.js';
import { LxcDriver } from './lxc.driver.js';

const rootId = { uid: 0, gid: 0, cwd: '' };
const run = (command: string[], more: Partial<ExecRequest> = {}): ExecRequest => ({
  command,
  environment: { PATH: '/bin', HOME: '/root' },
  ...rootId,
  ...more,
});

describe.skipIf(cannotRunContainers())('LxcDriver', () => {
  let directory: string;
  let driver: LxcDriver;
  let endings: Ending[];
  let told: (() => void) | undefined;
  let spec: StartSpec;

  const make = (): LxcDriver =>
    new LxcDriver({
      directory: join(directory, 'lxc'),
      log: silent,
      onEnded: (ending) => {
        endings.push(ending);
        told?.();
      },
    });
  const ended = async (): Promise<Ending> => {
    if (endings.length === 0) await new Promise<void>((resolve) => (told = resolve));
    return endings[0]!;
  };
  const output = async (command: string[], more: Partial<ExecRequest> = {}): Promise<{ code: number; out: string; err: string }> => {
    const process = await driver.exec(spec, run(command, more));
    process.stdin.end();
    const [out, err, code] = await Promise.all([text(process.stdout), text(process.stderr), process.exited]);
    return { code, out: out.trim(), err: err.trim() };
  };

  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'muster-lxc-'));
    chmodSync(directory, 0o711);
    mkdirSync(join(directory, 'c1'), { mode: 0o711 });
    makeBusyboxRootfs(join(directory, 'c1/rootfs'));
    const hash = createHash('sha256').update(directory).digest('hex').slice(0, 6);
    spec = {
      hostName: `${hash}-c1`,
      logDirectory: join(directory, 'logs'),
      name: 'c1',
      architecture: 'x86_64',
      config: { 'limits.memory': '64MiB', 'limits.processes': '100', 'environment.GREETING': 'hello' },
      idmap: baseIdmap(1_000_000, 1_000_000_000),
      rootfs: join(directory, 'c1/rootfs'),
      rootfsIdmapped: true,
      devices: [],
    };
    endings = [];
    driver = make();
  });
  afterEach(async () => {
    await driver.kill(spec);
    await new Promise((resolve) => setTimeout(resolve, 50));
    endings = [];
    told = undefined;
  });
  afterAll(() => {
    driver.close();
    rmSync(directory, { recursive: true, force: true });
  });

  it('says its version', async () => {
    expect(await driver.probe()).toMatchObject({ state: 'ready', version: expect.stringMatching(/^\d/) });
  });

  it('starts a container, runs commands in it, and is told when it is killed', async () => {
    const power = await driver.start(spec);
    expect(power).toMatchObject({ state: 'running' });
    expect(readFileSync(`/proc/${power.pid}/uid_map`, 'latin1')).toMatch(/0\s+1000000\s+1000000000/);
    expect(await output(['id', '-u'])).toEqual({ code: 0, out: '0', err: '' });
    expect(await output(['stat', '-c', '%u', '/etc/passwd'])).toMatchObject({ out: '0' });
    expect(await output(['hostname'])).toMatchObject({ out: 'c1' });
    expect(await output(['tr', '\\0', '\\n'], {})).toMatchObject({ code: 0 });
    expect((await output(['cat', '/proc/1/environ'])).out).toContain('GREETING=hello');
    expect(await driver.usage(spec)).toMatchObject({ memoryBytes: expect.any(Number), processes: expect.any(Number) });
    expect((await driver.usage(spec)).processes).toBeGreaterThan(0);
    expect((await driver.statistics(spec)).memory.rss).toBeGreaterThan(0);
    await expect(driver.start(spec)).rejects.toThrow('already running');
    await driver.kill(spec);
    expect(await ended()).toEqual({ hostName: spec.hostName, target: 'stop' });
    expect(await driver.power(spec)).toEqual({ state: 'stopped', pid: 0 });
    expect(await driver.usage(spec)).toMatchObject({ processes: 0 });
    expect(await driver.statistics(spec)).toMatchObject({ cpus: [] });
  });

  it('gives commands their user, directory, environment and exit code', async () => {
    await driver.start(spec);
    expect(await output(['id', '-u'], { uid: 1000, gid: 1000 })).toMatchObject({ out: '1000' });
    expect(await output(['pwd'])).toMatchObject({ out: '/root' });
    expect(await output(['pwd'], { cwd: '/var/log' })).toMatchObject({ out: '/var/log' });
    expect(await output(['mkdir', '/only-inside'])).toMatchObject({ code: 0 });
    expect(await output(['pwd'], { cwd: '/only-inside' })).toMatchObject({ out: '/only-inside' });
    expect(await output(['pwd'], { cwd: '/nowhere' })).toMatchObject({ out: '/' });
    expect((await output(['env'], { environment: { PATH: '/bin', A: 'x y' } })).out.split('\n')).toEqual(
      expect.arrayContaining(['A=x y', 'container=lxc']),
    );
    expect(await output(['sh', '-c', 'echo out; echo err >&2; exit 7'])).toEqual({ code: 7, out: 'out', err: 'err' });
    expect(await output(['nothing-there'])).toEqual({ code: 127, out: '', err: '' });
    expect((await output(['/etc/passwd'])).code).toBe(126);
  });

  it('passes signals to the command, not to lxc-attach', async () => {
    await driver.start(spec);
    const process = await driver.exec(spec, run(['sleep', '30']));
    process.stdout.resume();
    process.stderr.resume();
    process.signal(15);
    expect(await process.exited).toBe(143);
  });

  it('keeps seccomp for commands', async () => {
    await driver.start(spec);
    expect((await output(['grep', 'Seccomp:', '/proc/self/status'])).out).toMatch(/2$/);
  });

  it('notices a clean stop, a reboot and the death of the monitor', async () => {
    await driver.start(spec);
    await driver.shutdown(spec);
    expect(await ended()).toMatchObject({ target: 'stop' });

    endings = [];
    await driver.start(spec);
    await output(['reboot', '-f']);
    expect(await ended()).toMatchObject({ target: 'reboot' });
    expect(await driver.power(spec)).toMatchObject({ state: 'stopped' });

    endings = [];
    await driver.start(spec);
    const monitors = readFileSync(`${detectCgroups().controllers.get('pids')!.root}/lxc.monitor.${spec.hostName}/cgroup.procs`, 'latin1');
    process.kill(Number(monitors.split('\n')[0]), 'SIGKILL');
    expect(await ended()).toMatchObject({ target: 'crash' });
    expect(await driver.power(spec)).toMatchObject({ state: 'stopped' });
  }, 20_000);

  it('freezes and thaws', async () => {
    await driver.start(spec);
    await driver.freeze(spec);
    expect((await driver.power(spec)).state).toBe('frozen');
    await driver.unfreeze(spec);
    expect((await driver.power(spec)).state).toBe('running');
    await driver.freeze(spec);
  });

  it('finds a running container again after a restart of the daemon', async () => {
    const { pid } = await driver.start(spec);
    driver.close();
    driver = make();
    expect(await driver.watch(spec)).toEqual({ state: 'running', pid });
    await driver.kill(spec);
    expect(await ended()).toMatchObject({ target: 'stop' });
    expect(await driver.watch(spec)).toEqual({ state: 'stopped', pid: 0 });
  });

  it('gives a command a terminal, with its size', async () => {
    await driver.start(spec);
    const terminal = await driver.execOnTerminal(spec, run(['sh', '-c', 'stty size; read x; stty size; exit 5']), { columns: 100, rows: 40 });
    let out = '';
    terminal.stream.on('data', (chunk: Buffer) => {
      out += chunk.toString();
      if (out === '40 100\r\n') {
        terminal.resize(80, 24);
        setTimeout(() => terminal.stream.write('\n'), 100);
      }
    });
    expect(await terminal.exited).toBe(5);
    expect(out).toContain('24 80');
  });

  it('shows the console', async () => {
    await driver.start(spec);
    const console = await driver.console(spec, { columns: 80, rows: 24 });
    let out = '';
    const seen = new Promise<void>((resolve) => console.stream.on('data', (chunk: Buffer) => (out += chunk.toString()).includes('42!') && resolve()));
    const typing = setInterval(() => console.stream.write('echo $((6*7))!\n'), 100);
    await seen;
    clearInterval(typing);
    console.stream.destroy();
    await console.exited;
  });

  it('says why a container does not start, and leaves nothing', async () => {
    await expect(driver.start({ ...spec, config: { 'raw.lxc': 'lxc.init.cmd = /no/such/init' } })).rejects.toThrow(/Failed to start the container/);
    expect(await driver.power(spec)).toEqual({ state: 'stopped', pid: 0 });
    expect(
      readdirSync('/sys/fs/cgroup/')
        .flatMap((tree) => readdirSync(`/sys/fs/cgroup/${tree}`))
        .filter((name) => name.includes(spec.hostName)),
    ).toEqual([]);
  });

  it('tells which lines of raw.lxc liblxc takes', async () => {
    await driver.check({ 'raw.lxc': 'lxc.apparmor.profile = unconfined\n# comment' });
    await expect(driver.check({ 'raw.lxc': 'lxc.notaconfigkey = x' })).rejects.toMatchObject({ kind: 'invalid' });
  });

  it('limits live', async () => {
    const pids = (): string =>
      readFileSync(`${detectCgroups().controllers.get('pids')!.root}/lxc.payload.${spec.hostName}/pids.max`, 'latin1').trim();
    await driver.start(spec);
    expect(pids()).toBe('100');
    await driver.limit(spec, { 'limits.processes': '50', 'limits.memory': '32MiB', 'limits.cpu.allowance': '10ms/100ms' });
    expect(pids()).toBe('50');
    await driver.limit(spec, {});
    expect(pids()).toBe('max');
  });
});
