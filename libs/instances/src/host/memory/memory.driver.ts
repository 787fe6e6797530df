import { PassThrough } from 'node:stream';
import type { CgroupStatistics } from '#host-kit';
import { fault } from '#kit';
import type { InstanceType } from '#api-contract';
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

interface Running {
  pid: number;
  frozen: boolean;
  watched: boolean;
}

/** What outlives a driver: the machine. Drivers of one machine find what the others started. */
export class MemoryMachine {
  readonly running = new Map<string, Running>();
  readonly limits = new Map<string, Readonly<Record<string, string>>>();
  #pid = 1000;

  nextPid(): number {
    return ++this.#pid;
  }
}

/**
 * Instances that are nothing but an entry in a map, for tests and the simulator: the same promises as any driver, at once. A command is `true`, `false`,
 * `exit N`, `cat`, or is not found.
 */
export class MemoryDriver implements InstanceDriver {
  readonly name = 'memory';
  #open = true;

  constructor(
    private readonly options: DriverOptions,
    private readonly machine = new MemoryMachine(),
    readonly type: InstanceType = 'container',
  ) {}

  async probe(): Promise<Probe> {
    return { state: 'ready', version: '1' };
  }

  async check(config: Readonly<Record<string, string>>): Promise<void> {
    if (config['raw.lxc']?.includes('notaconfigkey')) throw fault.invalid('Failed to load the lines of raw.lxc');
  }

  async start(spec: StartSpec): Promise<Power> {
    if (this.machine.running.has(spec.hostName)) throw fault.conflict('The instance is already running', { status: 400 });
    if (spec.config['raw.lxc']?.includes('/no/such/init')) throw fault.internal('Failed to start the container');
    this.machine.running.set(spec.hostName, { pid: this.machine.nextPid(), frozen: false, watched: true });
    this.machine.limits.set(spec.hostName, spec.config);
    return this.power(spec);
  }

  /** It stops at once, unless it is deaf. */
  async shutdown(key: InstanceKey): Promise<void> {
    if (!this.machine.limits.get(key.hostName)?.['user.deaf']) this.end(key.hostName, 'stop');
  }

  async kill(key: InstanceKey): Promise<void> {
    this.end(key.hostName, 'stop');
  }

  /** As if the instance did it: for tests. */
  end(hostName: string, target: 'stop' | 'reboot' | 'crash'): void {
    const running = this.machine.running.get(hostName);
    if (!running) return;
    this.machine.running.delete(hostName);
    if (running.watched && this.#open) queueMicrotask(() => this.options.onEnded({ hostName, target }));
  }

  async freeze(key: InstanceKey): Promise<void> {
    this.#running(key).frozen = true;
  }

  async unfreeze(key: InstanceKey): Promise<void> {
    this.#running(key).frozen = false;
  }

  async power(key: InstanceKey): Promise<Power> {
    const running = this.machine.running.get(key.hostName);
    return running ? { state: running.frozen ? 'frozen' : 'running', pid: running.pid } : { state: 'stopped', pid: 0 };
  }

  async usage(key: InstanceKey): Promise<Usage> {
    const processes = this.machine.running.has(key.hostName) ? 1 : 0;
    return { cpuNs: 0, memoryBytes: 0, memoryPeakBytes: 0, swapBytes: 0, swapPeakBytes: 0, processes };
  }

  async statistics(): Promise<CgroupStatistics> {
    return { memory: {}, cpus: [], disks: new Map() };
  }

  async limit(key: InstanceKey, config: Readonly<Record<string, string>>): Promise<void> {
    this.#running(key);
    this.machine.limits.set(key.hostName, config);
  }

  async pin(key: InstanceKey): Promise<void> {
    this.#running(key);
  }

  async exec(key: InstanceKey, { command }: ExecRequest): Promise<ExecProcess> {
    this.#running(key);
    const [stdin, stdout, stderr] = [new PassThrough(), new PassThrough(), new PassThrough()];
    const { exited, signal } = this.#command(command, stdin, stdout);
    void exited.then(() => (stdout.end(), stderr.end()));
    return { stdin, stdout, stderr, exited, signal };
  }

  async execOnTerminal(key: InstanceKey, { command }: ExecRequest): Promise<ExecTerminal> {
    this.#running(key);
    const stream = new PassThrough();
    const { exited, signal } = this.#command(command, stream, stream);
    void exited.then(() => stream.end());
    return { stream, exited, signal, resize: () => {} };
  }

  console(key: InstanceKey): Promise<ExecTerminal> {
    return this.execOnTerminal(key, { command: ['cat'], environment: {}, uid: 0, gid: 0, cwd: '' });
  }

  async watch(key: InstanceKey): Promise<Power> {
    const running = this.machine.running.get(key.hostName);
    if (running) running.watched = true;
    return this.power(key);
  }

  async clean(): Promise<void> {}

  close(): void {
    this.#open = false;
  }

  #running(key: InstanceKey): Running {
    const running = this.machine.running.get(key.hostName);
    if (!running) throw fault.conflict('The instance is not running');
    return running;
  }

  #command(command: readonly string[], stdin: PassThrough, stdout: PassThrough): Pick<ExecProcess, 'exited' | 'signal'> {
    const { promise, resolve } = Promise.withResolvers<number>();
    const [program, argument] = command;
    if (program === 'cat') {
      if (stdin !== stdout) stdin.on('data', (chunk) => stdout.write(chunk));
      stdin.on('end', () => resolve(0));
    } else if (program === 'sleep') setTimeout(() => resolve(0), Number(argument) * 1000).unref();
    else resolve(program === 'true' ? 0 : program === 'false' ? 1 : program === 'exit' ? Number(argument) : 127);
    return { exited: promise, signal: (number) => resolve(128 + number) };
  }
}
