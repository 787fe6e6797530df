import { spawn, type ChildProcess } from 'node:child_process';
import { chmodSync, closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Api } from './api.js';
import { root } from './root.js';

export interface Run {
  code: number;
  stdout: string;
  stderr: string;
}

/** Below /var/tmp: every directory above a container's root must let its mapped root pass. */
const base = '/var/tmp';

/**
 * A daemon of its own in a directory of its own, with the genuine `lxc` pointed at it: Muster, or, with MUSTER_CONFORMANCE_SERVER=lxd, a real LXD (the
 * same cases must hold there). Everything that it made on the host is gone after `stop`.
 */
export class Server implements AsyncDisposable {
  readonly api: Api;
  /** A name that no other server on this host uses, short enough for a bridge. */
  readonly bridge: string;
  /** The first three bytes of its addresses: one of 25,600, so that servers of parallel runs hardly ever meet. */
  readonly subnet: string;
  #daemon: ChildProcess | undefined;

  private constructor(
    readonly dir: string,
    /** Muster, or a real LXD. */
    readonly kind: 'muster' | 'lxd',
    private readonly environment: Record<string, string>,
  ) {
    this.api = new Api(join(dir, 'unix.socket'));
    const hash = createHash('sha256').update(dir).digest();
    this.bridge = `t${hash.toString('hex').slice(0, 8)}`;
    this.subnet = `10.${100 + (hash[0]! % 100)}.${hash[1]}`;
  }

  static async start({
    kind = process.env.MUSTER_CONFORMANCE_SERVER === 'lxd' ? 'lxd' : 'muster',
    environment = {},
  }: { kind?: 'muster' | 'lxd'; environment?: Record<string, string> } = {}): Promise<Server> {
    const server = new Server(mkdtempSync(join(base, 'muster-test-')), kind, environment);
    mkdirSync(join(server.dir, 'client'), { mode: 0o700 });
    chmodSync(server.dir, 0o711);
    await server.boot();
    return server;
  }

  get pid(): number {
    return this.#daemon!.pid!;
  }

  get running(): boolean {
    return this.#daemon !== undefined && this.#daemon.exitCode === null && this.#daemon.signalCode === null;
  }

  /** Starts the daemon on the directory, for the first time or again; resolves when it serves. */
  async boot(): Promise<void> {
    const log = openSync(join(this.dir, 'test.log'), 'a');
    const [program, args] =
      this.kind === 'lxd'
        ? ['/usr/bin/lxd', ['--logfile', join(this.dir, 'lxd.log')]]
        : [join(root, 'bin/muster'), ['--logfile', join(this.dir, 'daemon.log'), '--verbose']];
    this.#daemon = spawn(program, args, {
      env: { ...process.env, ...this.environment, LXD_DIR: this.dir, MUSTER_DIR: this.dir },
      stdio: ['ignore', log, log],
      detached: true,
    });
    closeSync(log);
    for (const end = Date.now() + 30_000; ; await sleep(20)) {
      if (!this.running) throw new Error(`the daemon ended with status ${this.#daemon.exitCode}:\n${this.log()}`);
      try {
        await this.api.get('/internal/ready');
        return;
      } catch (error) {
        if (Date.now() > end) throw new Error(`the daemon does not answer: ${String(error)}\n${this.log()}`, { cause: error });
      }
    }
  }

  /** The daemon's last lines, for failures. */
  log(): string {
    return ['test.log', 'daemon.log', 'lxd.log']
      .map((name) => (existsSync(join(this.dir, name)) ? readFileSync(join(this.dir, name), 'utf8').slice(-3000) : ''))
      .join('\n');
  }

  /** kill -9, as a crash would be. Containers go on. */
  async crash(): Promise<void> {
    this.#daemon!.kill('SIGKILL');
    await this.ended();
  }

  /** SIGTERM: the daemon goes, containers go on. */
  async terminate(): Promise<void> {
    this.#daemon!.kill('SIGTERM');
    await this.ended();
  }

  async ended(): Promise<number | null> {
    for (const end = Date.now() + 60_000; this.running; await sleep(20))
      if (Date.now() > end) throw new Error(`the daemon does not end\n${this.log()}`);
    return this.#daemon!.exitCode;
  }

  /** A pool and a bridge in the default profile, and the busybox image as `busybox`. */
  async furnish({ driver = 'dir', network = true, image = true }: { driver?: string; network?: boolean; image?: boolean } = {}): Promise<void> {
    const devices: Record<string, Record<string, string>> = { root: { type: 'disk', path: '/', pool: 'default' } };
    await this.api.change('POST', '/1.0/storage-pools', { name: 'default', driver, config: driver === 'dir' ? {} : { size: '2GiB' } });
    if (network) {
      await this.api.change('POST', '/1.0/networks', {
        name: this.bridge,
        type: 'bridge',
        config: { 'ipv4.address': `${this.subnet}.1/24`, 'ipv6.address': 'none' },
      });
      devices.eth0 = { type: 'nic', network: this.bridge, name: 'eth0' };
    }
    await this.api.change('PUT', '/1.0/profiles/default', { description: '', config: {}, devices });
    if (image) await this.importBusybox();
  }

  async importBusybox(alias = 'busybox'): Promise<string> {
    const { makeBusyboxImage } = (await import(join(root, 'scripts/lib/busybox-image.mjs'))) as {
      makeBusyboxImage: (target: string, name?: string) => string;
    };
    const file = makeBusyboxImage(join(this.dir, 'client/image.tar.gz'), alias);
    const { fingerprint } = (await this.api.upload('/1.0/images', file)) as { fingerprint: string };
    await this.api.change('POST', '/1.0/images/aliases', { name: alias, target: fingerprint });
    rmSync(file);
    return fingerprint;
  }

  /** The genuine client. Never throws for a bad exit status; `ok` does. */
  lxc(args: readonly string[], { input, timeoutMs = 60_000 }: { input?: string | Buffer; timeoutMs?: number } = {}): Promise<Run> {
    return this.run('/usr/bin/lxc', args, { input, timeoutMs });
  }

  async ok(args: readonly string[], options: { input?: string | Buffer; timeoutMs?: number } = {}): Promise<string> {
    const { code, stdout, stderr } = await this.lxc(args, options);
    if (code !== 0) throw new Error(`lxc ${args.join(' ')}: status ${code}\n${stderr}\n${this.log()}`);
    return stdout;
  }

  /** Muster's own command. */
  muster(args: readonly string[], options: { input?: string; timeoutMs?: number } = {}): Promise<Run> {
    return this.run(join(root, 'bin/muster'), args, options);
  }

  run(program: string, args: readonly string[], { input, timeoutMs = 60_000 }: { input?: string | Buffer; timeoutMs?: number }): Promise<Run> {
    return new Promise((resolve, reject) => {
      const environment = {
        ...process.env,
        LXD_DIR: this.dir,
        MUSTER_DIR: this.dir,
        LXD_CONF: join(this.dir, 'client'),
        HOME: join(this.dir, 'client'),
        TERM: 'dumb',
      };
      const child = spawn(program, [...args], { env: environment, stdio: ['pipe', 'pipe', 'pipe'], timeout: timeoutMs, killSignal: 'SIGKILL' });
      const out: Buffer[] = [];
      const err: Buffer[] = [];
      child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
      child.stderr.on('data', (chunk: Buffer) => err.push(chunk));
      child.on('error', reject);
      child.on('close', (code, signal) =>
        resolve({
          code: code ?? 128,
          stdout: Buffer.concat(out).toString(),
          stderr: Buffer.concat(err).toString() + (signal ? `\n(killed by ${signal})` : ''),
        }),
      );
      child.stdin.on('error', () => undefined);
      child.stdin.end(input ?? '');
    });
  }

  /** Shuts down, instances included, and removes the directory and the bridge. */
  async stop(): Promise<void> {
    if (this.running) {
      await this.removeEverything().catch(() => undefined);
      await this.api.change('PUT', '/internal/shutdown?force=1').catch(() => undefined);
      await this.ended().catch(() => this.crash());
    }
    await this.run(
      '/bin/sh',
      ['-c', `ip link del ${this.bridge} 2>/dev/null; grep -o ' ${this.dir}[^ ]*' /proc/self/mounts | tac | xargs -r -n1 umount -l; true`],
      {},
    );
    rmSync(this.dir, { recursive: true, force: true });
  }

  async removeEverything(): Promise<void> {
    for (const url of await this.api.get<string[]>('/1.0/instances?all-projects=true')) {
      const [path, query = ''] = url.split('?');
      await this.api.change('PUT', `${path}/state?${query}`, { action: 'stop', force: true, timeout: 5 }).catch(() => undefined);
      await this.api.change('DELETE', url).catch(() => undefined);
    }
    for (const url of await this.api.get<string[]>('/1.0/images')) await this.api.change('DELETE', url).catch(() => undefined);
    await this.api.change('PUT', '/1.0/profiles/default', { config: {}, devices: {}, description: '' }).catch(() => undefined);
    for (const network of await this.api.get<{ name: string; managed: boolean }[]>('/1.0/networks?recursion=1')) {
      if (network.managed) await this.api.change('DELETE', `/1.0/networks/${network.name}`).catch(() => undefined);
    }
    for (const url of await this.api.get<string[]>('/1.0/storage-pools')) await this.api.change('DELETE', url).catch(() => undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

/** Waits for a condition, never for time. @throws after `timeoutMs`, with `what` */
export async function until(what: string, condition: () => boolean | Promise<boolean>, timeoutMs = 20_000): Promise<void> {
  for (const end = Date.now() + timeoutMs; !(await condition()); await sleep(25)) if (Date.now() > end) throw new Error(`in vain: ${what}`);
}
