import { randomUUID } from 'node:crypto';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { detectCgroups, errorCode, idmapLines, run, type CgroupStatistics, type Ending as ProgramEnding, type SpawnedProcess } from '#host-kit';
import { fault, type Logger } from '#kit';
import { lxcConfig, lxcConfigText, parseRawLxc, seccompPolicy } from '../../model/index.js';
import type {
  DriverOptions,
  ExecProcess,
  ExecRequest,
  ExecTerminal,
  InstanceDriver,
  InstanceKey,
  Power,
  Probe,
  StartSpec,
  Usage,
} from '../driver.js';
import { ContainerCgroup, limitLines } from './container-cgroup.js';
import { lxcHost } from './host-facts.js';
import { StopHook } from './hook.js';
import { Monitor } from './monitor.js';
import { blocksSignal, lookAt, signalProcess } from './processes.js';
import { LxcPrograms, startFailed } from './programs.js';

const SIGPWR = 30;
const SIGRTMIN3 = 37;
const signalTries = 500;
const nothing: Usage = { cpuNs: 0, memoryBytes: 0, memoryPeakBytes: 0, swapBytes: 0, swapPeakBytes: 0, processes: 0 };

export interface LxcDriverOptions extends DriverOptions {
  /** Ours alone: LXC's path, hook and the word of ended containers. */
  directory: string;
  log: Logger;
}

/**
 * Containers by liblxc's programs. Its monitor outlives us; what runs is found again by asking the monitors (see monitor.ts), and an end is told by the
 * closing of a monitor's socket together with the word that the stop hook left (see hook.ts).
 */
export class LxcDriver implements InstanceDriver {
  readonly type = 'container';
  readonly name = 'lxc';
  readonly #lxcPath: string;
  readonly #cgroups = detectCgroups();
  readonly #hook: StopHook;
  readonly #programs: LxcPrograms;
  readonly #watches = new Map<string, Disposable>();
  #installed?: Promise<void>;

  constructor(private readonly options: LxcDriverOptions) {
    this.#lxcPath = join(options.directory, 'containers');
    this.#hook = new StopHook(options.directory);
    this.#programs = new LxcPrograms(this.#lxcPath);
  }

  async probe(): Promise<Probe> {
    try {
      const { code, stdout } = await run('lxc-start', ['--version'], { timeoutMs: 5_000 });
      if (code !== 0) return { state: 'broken', reason: 'lxc-start does not run' };
      return { state: 'ready', version: stdout.toString().trim() };
    } catch (error) {
      return { state: 'missing', reason: error instanceof Error ? error.message : 'lxc-start does not run' };
    }
  }

  async check(config: Readonly<Record<string, string>>): Promise<void> {
    const raw = parseRawLxc(config['raw.lxc'] ?? '');
    if (raw.length === 0) return;
    await this.#install();
    const file = join(this.options.directory, `check-${randomUUID()}.conf`);
    await writeFile(file, lxcConfigText(raw), { mode: 0o600 });
    try {
      if (!(await this.#programs.canLoad(file))) throw fault.invalid('Failed to load the lines of raw.lxc');
    } finally {
      await rm(file, { force: true });
    }
  }

  async start(spec: StartSpec): Promise<Power> {
    await this.#install();
    const monitor = this.#monitor(spec);
    if ((await monitor.state()) !== 'stopped') throw fault.conflict('The instance is already running', { status: 400 });
    // What a killed monitor left would make LXC take other names for its groups, and we would look in the wrong place.
    this.#cgroup(spec).remove();
    await this.#hook.forget(spec.hostName);
    const { configFile, logFile, apparmor } = await this.#writeConfig(spec);
    const code = await this.#programs.start(spec.hostName, configFile, apparmor);
    const power = await this.watch(spec);
    if (power.pid === 0) {
      await this.clean(spec);
      throw await startFailed(logFile);
    }
    if (code !== 0) this.options.log.warn({ instance: spec.hostName, code }, 'lxc-start complained, but the container runs');
    return power;
  }

  async shutdown(key: InstanceKey, haltSignal?: string): Promise<void> {
    const pid = await this.#monitor(key).initPid();
    if (pid === 0) return;
    // systemd blocks the signal that it wants to be told with; all others know SIGPWR.
    signalProcess(pid, signalNumber(haltSignal) ?? (blocksSignal(pid, SIGRTMIN3) ? SIGRTMIN3 : SIGPWR));
  }

  async kill(key: InstanceKey): Promise<void> {
    const monitor = this.#monitor(key);
    if ((await monitor.state()) === 'stopped') return;
    this.#cgroup(key).stopForking();
    await monitor.stop();
    await this.clean(key);
  }

  async freeze(key: InstanceKey): Promise<void> {
    await this.#cgroup(key).freeze(true);
  }

  async unfreeze(key: InstanceKey): Promise<void> {
    await this.#cgroup(key).freeze(false);
  }

  async power(key: InstanceKey): Promise<Power> {
    const monitor = this.#monitor(key);
    const state = await monitor.state();
    if (state === 'stopped') return { state, pid: 0 };
    if (state === 'running' && this.#cgroup(key).isFrozen()) return { state: 'frozen', pid: await monitor.initPid() };
    return { state, pid: await monitor.initPid() };
  }

  async usage(key: InstanceKey): Promise<Usage> {
    return (await this.#monitor(key).state()) === 'stopped' ? nothing : this.#cgroup(key).usage();
  }

  async statistics(key: InstanceKey): Promise<CgroupStatistics> {
    return this.#cgroup(key).statistics();
  }

  async limit(key: InstanceKey, config: Readonly<Record<string, string>>): Promise<void> {
    this.#cgroup(key).limit(config);
  }

  async pin(key: InstanceKey, cpus: string): Promise<void> {
    this.#cgroup(key).pin(cpus);
  }

  async exec(key: InstanceKey, request: ExecRequest): Promise<ExecProcess> {
    const program = this.#programs.attach(key.hostName, configFileOf(key), request);
    const { stdin, stdout, stderr } = program;
    return { stdin, stdout, stderr, ...this.#attached(key, program) };
  }

  async execOnTerminal(key: InstanceKey, request: ExecRequest, size: { columns: number; rows: number }): Promise<ExecTerminal> {
    const program = this.#programs.attachOnTerminal(key.hostName, configFileOf(key), request, size);
    return { stream: program.stream, resize: (columns, rows) => program.resize({ columns, rows }), ...this.#attached(key, program) };
  }

  async console(key: InstanceKey, size: { columns: number; rows: number }): Promise<ExecTerminal> {
    const program = this.#programs.console(key.hostName, size);
    return {
      stream: program.stream,
      resize: (columns, rows) => program.resize({ columns, rows }),
      exited: program.ended.then(exitCode),
      // Only the viewer is ours to end.
      signal: () => void program.kill('SIGTERM'),
    };
  }

  async watch(key: InstanceKey): Promise<Power> {
    await this.#install();
    const { hostName } = key;
    this.#watches.get(hostName)?.[Symbol.dispose]();
    const hold = await this.#monitor(key).hold(() => void this.#gone(key));
    if (!hold) return { state: 'stopped', pid: 0 };
    this.#watches.set(hostName, hold);
    return this.power(key);
  }

  async clean(key: InstanceKey): Promise<void> {
    this.#cgroup(key).remove();
    // LXC's lock files are named after its path and the container, and are never removed by it.
    await rm(`/run/lxc/lock/${this.#lxcPath}/.${key.hostName}`, { force: true });
  }

  close(): void {
    for (const watch of this.#watches.values()) watch[Symbol.dispose]();
    this.#watches.clear();
  }

  /** Whoever waits for an end must see it even when cleaning up fails. */
  async #gone(key: InstanceKey): Promise<void> {
    this.#watches.delete(key.hostName);
    try {
      const target = await this.#hook.take(key.hostName);
      if (target === undefined) await this.clean(key);
      this.options.onEnded({ hostName: key.hostName, target: target ?? 'crash' });
    } catch (error) {
      this.options.log.error({ err: error, instance: key.hostName }, 'could not clean up after a container');
      this.options.onEnded({ hostName: key.hostName, target: 'crash' });
    }
  }

  /** lxc-attach does not pass signals on: they go to its child, the command itself. */
  #attached(key: InstanceKey, program: SpawnedProcess): Pick<ExecProcess, 'exited' | 'signal'> {
    const deliver = async (number: number): Promise<void> => {
      for (let tries = 0; tries < signalTries && program.ending === undefined; tries++) {
        for (const pid of this.#cgroup(key).pids()) {
          const process = lookAt(pid);
          // Until it runs the command it is still lxc-attach: its end would be taken for that of the attempt.
          if (process?.parent === program.pid && (process.program !== 'lxc-attach' || tries === signalTries - 1))
            return void signalProcess(pid, number);
        }
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    };
    return {
      exited: program.ended.then(exitCode),
      signal: (number) => void deliver(number).catch((error: unknown) => this.options.log.warn({ err: error }, 'could not signal a command')),
    };
  }

  async #writeConfig(spec: StartSpec): Promise<{ configFile: string; logFile: string; apparmor: boolean }> {
    const file = (name: string): string => join(spec.logDirectory, name);
    await mkdir(spec.logDirectory, { recursive: true, mode: 0o700 });
    const logFile = file('lxc.log');
    await rename(logFile, file('lxc.log.old')).catch(unlessMissing);
    const policy = seccompPolicy(spec.config, spec.architecture);
    const seccompProfile = policy === undefined ? undefined : file('seccomp.policy');
    if (seccompProfile && policy) await writeFile(seccompProfile, policy, { mode: 0o600 });
    const host = lxcHost(this.#cgroups);
    const files = { log: logFile, consoleLog: file('console.log'), hook: this.#hook.path, seccompProfile };
    const lines = lxcConfig({ ...spec, ...files, idmapLines: idmapLines(spec.idmap), limits: limitLines(this.#cgroups, spec.config) }, host);
    const configFile = configFileOf(spec);
    await writeFile(configFile, lxcConfigText(lines), { mode: 0o600 });
    return { configFile, logFile, apparmor: host.apparmor };
  }

  #install(): Promise<void> {
    return (this.#installed ??= (async () => {
      // root of a container passes through here on its way to nothing: only the hook is run from it, by the monitor.
      await mkdir(this.#lxcPath, { recursive: true, mode: 0o711 });
      await this.#hook.install();
    })());
  }

  #cgroup(key: InstanceKey): ContainerCgroup {
    return new ContainerCgroup(this.#cgroups, key.hostName);
  }

  #monitor(key: InstanceKey): Monitor {
    return new Monitor(this.#lxcPath, key.hostName);
  }
}

function exitCode({ code, signal }: ProgramEnding): number {
  return code ?? 128 + (signalNumber(signal ?? '') ?? 0);
}

const signals: Record<string, number> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGKILL: 9,
  SIGUSR1: 10,
  SIGSEGV: 11,
  SIGUSR2: 12,
  SIGPIPE: 13,
  SIGTERM: 15,
  SIGPWR,
};

/** What the container was started with. */
const configFileOf = ({ logDirectory }: InstanceKey): string => join(logDirectory, 'lxc.conf');

/** 'SIGPWR', '30', 'SIGRTMIN+3', or host-kit's 'SIG34' → number. */
function signalNumber(name: string | undefined): number | undefined {
  if (!name) return undefined;
  const realtime = /^SIGRTMIN\+(\d+)$/.exec(name);
  if (realtime) return 34 + Number(realtime[1]);
  return signals[name] ?? (/^(?:SIG)?(\d+)$/.exec(name)?.[1] ? Number(name.replace('SIG', '')) : undefined);
}

function unlessMissing(error: unknown): void {
  if (errorCode(error) !== 'ENOENT') throw error;
}
