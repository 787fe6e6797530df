import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { requireProgram, spawn } from '#host-kit';
import { fault, type Logger } from '#kit';
import { Serial } from '../serial.js';

const startMaxMs = 5_000;
const stopMaxMs = 2_000;
const watchMs = 500;
const againMinMs = 100;
const againMaxMs = 10_000;

/**
 * The dnsmasq of one network. It outlives the daemon: a new one finds it by the pid file and the arguments that it really runs with, and leaves it alone
 * if those are what it should have. While `keep` is in force it is watched, and started again when it dies.
 */
export class DnsmasqProcess {
  #wanted: { args: readonly string[]; raw: string } | undefined;
  #watch: NodeJS.Timeout | undefined;
  #againMs = againMinMs;
  /** Starting, ending and watching never overlap. */
  readonly #turn = new Serial<'all'>();

  constructor(
    /** STATE/networks/NAME. */
    private readonly dir: string,
    private readonly logFile: string,
    private readonly log: Logger,
  ) {}

  /** Has it run with exactly these arguments and extra configuration, from now on. @throws Fault internal with its words when it will not start */
  keep(args: readonly string[], raw: string): Promise<void> {
    return this.#turn.run('all', () => this.#keep(args, raw));
  }

  async #keep(args: readonly string[], raw: string): Promise<void> {
    const running = this.pid();
    const rawPath = join(this.dir, 'dnsmasq.raw');
    const content = `${raw}\n`;
    const same = running !== undefined && sameWords(commandLine(running), args) && fileText(rawPath) === content;
    this.#wanted = { args, raw };
    if (!same) {
      await this.#end();
      mkdirSync(join(this.dir, 'dnsmasq.hosts'), { recursive: true, mode: 0o755 });
      writeFileSync(rawPath, content, { mode: 0o644 });
      await this.#start(args);
      this.#againMs = againMinMs;
    }
    this.#watch ??= setTimeout(() => this.#watchAgain(), watchMs).unref();
  }

  /** Ends it; leases are remembered. */
  async end(): Promise<void> {
    this.#unwatch();
    await this.#turn.run('all', () => this.#end());
  }

  /** Ends it for good, and what only it needs: leases and pid file. */
  async stop(): Promise<void> {
    await this.end();
    for (const file of ['dnsmasq.pid', 'dnsmasq.leases']) rmSync(join(this.dir, file), { force: true });
  }

  /** No longer watches it, and lets it run: the daemon goes, the network stays. */
  release(): void {
    this.#unwatch();
  }

  /** Has it read the hosts directory anew. */
  reload(): void {
    const pid = this.pid();
    if (pid !== undefined) process.kill(pid, 'SIGHUP');
  }

  /** Of the dnsmasq that serves this directory; undefined when none does. */
  pid(): number | undefined {
    const path = join(this.dir, 'dnsmasq.pid');
    const pid = Number(fileText(path).trim());
    return Number.isSafeInteger(pid) && pid > 1 && commandLine(pid).includes(`--pid-file=${path}`) ? pid : undefined;
  }

  /** Whether one runs here, for this interface. */
  serves(link: string): boolean {
    const pid = this.pid();
    return pid !== undefined && commandLine(pid).includes(`--interface=${link}`);
  }

  #unwatch(): void {
    this.#wanted = undefined;
    clearTimeout(this.#watch);
    this.#watch = undefined;
  }

  #watchAgain(): void {
    void this.#turn.run('all', () => this.#look());
  }

  async #look(): Promise<void> {
    const wanted = this.#wanted;
    if (!wanted) return;
    let nextMs = watchMs;
    if (this.pid() === undefined) {
      this.log.warn({ dir: this.dir }, 'dnsmasq died, starting it again');
      try {
        await this.#start(wanted.args);
        // One that dies again at once is not worth all of our time.
        this.#againMs = Math.min(this.#againMs * 2, againMaxMs);
      } catch (error) {
        this.log.error({ err: error, dir: this.dir }, 'dnsmasq does not start');
        this.#againMs = Math.min(this.#againMs * 2, againMaxMs);
        nextMs = this.#againMs;
      }
    } else this.#againMs = Math.max(againMinMs, this.#againMs / 2);
    if (this.#wanted) this.#watch = setTimeout(() => this.#watchAgain(), nextMs).unref();
  }

  async #start(args: readonly string[]): Promise<void> {
    mkdirSync(dirname(this.logFile), { recursive: true });
    rmSync(join(this.dir, 'dnsmasq.pid'), { force: true });
    const output = openSync(this.logFile, 'w', 0o600);
    try {
      const child = spawn({ path: requireProgram('dnsmasq'), args, stdio: ['null', output, output] });
      child.unref();
      // It writes the pid file when its sockets are open and its configuration is read.
      const deadline = performance.now() + startMaxMs;
      while (this.pid() !== child.pid) {
        if (child.ending || performance.now() > deadline) {
          child.kill('SIGKILL');
          const words = fileText(this.logFile).trim().slice(-500);
          throw fault.internal(`The DNS and DHCP service exited prematurely: ${words}`);
        }
        await sleep(5);
      }
    } finally {
      closeSync(output);
    }
  }

  async #end(): Promise<void> {
    const pid = this.pid();
    if (pid === undefined) return;
    // It removes its pid file, and the kernel its command line, before its sockets are closed: only the end of the process counts.
    const gone = (): boolean => /^(|.*\) [ZX] .*)$/s.test(fileText(`/proc/${pid}/stat`));
    for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
      if (!gone()) process.kill(pid, signal);
      for (const deadline = performance.now() + stopMaxMs; !gone() && performance.now() < deadline;) await sleep(5);
    }
  }
}

/** '' when it is not there. */
function fileText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** The arguments of a process, without argv[0]; [] when it is gone. */
const commandLine = (pid: number): string[] => fileText(`/proc/${pid}/cmdline`).split('\0').slice(1, -1);

const sameWords = (a: readonly string[], b: readonly string[]): boolean => a.length === b.length && a.every((word, index) => word === b[index]);

/** Whom dnsmasq becomes: a user that can do nothing else, unless that user could not reach its files. */
export function dnsmasqUser(dir: string): { user: string; group: string } {
  for (let path = dir; path !== '/'; path = dirname(path)) {
    if (existsSync(path) && (statSync(path).mode & 0o001) === 0) return { user: 'root', group: 'root' };
  }
  return fileText('/etc/passwd').includes('\nmuster:') ? { user: 'muster', group: 'muster' } : { user: 'nobody', group: 'nogroup' };
}
