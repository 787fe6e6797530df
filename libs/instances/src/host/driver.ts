import type { Duplex, Readable, Writable } from 'node:stream';
import type { InstanceType } from '#api-contract';
import type { CgroupStatistics, Idmap } from '#host-kit';
import type { LxcLine, PowerState } from '../model/index.js';

/** How a driver knows an instance: the name that the host sees (naming.lxc), and where its logs are. Enough for all that runs. */
export interface InstanceKey {
  readonly hostName: string;
  readonly logDirectory: string;
}

/** An instance that is about to start: its volume is mounted, its devices are prepared. */
export interface StartSpec extends InstanceKey {
  /** Its own name: the hostname inside. */
  readonly name: string;
  readonly architecture: string;
  /** Expanded. */
  readonly config: Readonly<Record<string, string>>;
  /** Empty when privileged. */
  readonly idmap: Idmap;
  readonly rootfs: string;
  readonly rootfsIdmapped: boolean;
  readonly guestDirectory?: string;
  readonly injectDirectory?: string;
  /** What its devices asked for, in order. */
  readonly devices: readonly LxcLine[];
}

export interface Power {
  state: PowerState;
  /** Of its init, as the host sees it; 0 when it does not run. */
  pid: number;
}

/** How an instance ended: by itself or by request, in order to start again, or because its monitor died. */
export interface Ending {
  hostName: string;
  target: 'stop' | 'reboot' | 'crash';
}

export interface Usage {
  cpuNs: number;
  memoryBytes: number;
  memoryPeakBytes: number;
  /** undefined: no limit. */
  memoryLimitBytes?: number;
  swapBytes: number;
  swapPeakBytes: number;
  processes: number;
}

export interface ExecRequest {
  command: readonly string[];
  environment: Readonly<Record<string, string>>;
  uid: number;
  gid: number;
  /** '' for the home of the environment, else '/'. */
  cwd: string;
}

/** A command inside. Streams carry back-pressure; whoever started it consumes or destroys them. */
export interface ExecProcess {
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** Exit code, 128 + signal when killed. Never rejects. */
  readonly exited: Promise<number>;
  /** To the command itself. Nothing happens after its end. */
  signal(number: number): void;
}

/** A command on a terminal of its own. */
export interface ExecTerminal extends Pick<ExecProcess, 'exited' | 'signal'> {
  readonly stream: Duplex;
  resize(columns: number, rows: number): void;
}

export interface Probe {
  state: 'ready' | 'missing' | 'broken';
  version?: string;
  reason?: string;
}

/**
 * Runs instances of one type. The core serialises what changes an instance; a driver keeps nothing that it could not find again by looking, so that it
 * may be made anew at any time. Every call is safe to repeat; what fails half way cleans up what it made.
 */
export interface InstanceDriver {
  readonly type: InstanceType;
  /** Name in the server's environment: 'lxc', 'qemu'. */
  readonly name: string;
  /** Never throws, bounded in time. */
  probe(): Promise<Probe>;

  /** Whether a config (expanded) can be started with, as far as only the driver's own programs can tell. @throws Fault invalid */
  check(config: Readonly<Record<string, string>>): Promise<void>;
  /** Runs when this resolves. @throws Fault internal, with what the log said as its sentence's end */
  start(spec: StartSpec): Promise<Power>;
  /** Asks the instance to stop by itself, and returns at once. Its end comes through `onEnded`. */
  shutdown(key: InstanceKey, haltSignal?: string): Promise<void>;
  /** Ends it. Resolves when nothing of it is left; not running is success. */
  kill(key: InstanceKey): Promise<void>;
  freeze(key: InstanceKey): Promise<void>;
  unfreeze(key: InstanceKey): Promise<void>;

  power(key: InstanceKey): Promise<Power>;
  /** What it uses, all zero when it does not run. */
  usage(key: InstanceKey): Promise<Usage>;
  /** The finer figures, for monitoring; empty when it does not run. */
  statistics(key: InstanceKey): Promise<CgroupStatistics>;
  /** Makes the limits.* of an expanded config those of a running instance. @throws Fault for one that the kernel refuses */
  limit(key: InstanceKey, config: Readonly<Record<string, string>>): Promise<void>;
  /** The CPUs that a running instance may use, '0-3,7'. */
  pin(key: InstanceKey, cpus: string): Promise<void>;

  exec(key: InstanceKey, request: ExecRequest): Promise<ExecProcess>;
  execOnTerminal(key: InstanceKey, request: ExecRequest, size: { columns: number; rows: number }): Promise<ExecTerminal>;
  /** Its console, for one at a time. */
  console(key: InstanceKey, size: { columns: number; rows: number }): Promise<ExecTerminal>;

  /**
   * Watches a running instance from now on: `onEnded` of the driver is called once, when nothing of it runs any more. Called for every instance that was
   * found running at the start of the daemon; `start` does it by itself.
   */
  watch(key: InstanceKey): Promise<Power>;
  /** Takes away what is left of an instance that does not run. */
  clean(key: InstanceKey): Promise<void>;
  /** Stops watching; everything goes on running. */
  close(): void;
}

export interface DriverOptions {
  /** Called once for each end, after the instance is wholly gone. */
  onEnded(ending: Ending): void;
}
