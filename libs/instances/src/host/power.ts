import { randomUUID } from 'node:crypto';
import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Undo, fault, Fault, faultPoint } from '#kit';
import { idmapToJson } from '#host-kit';
import type { CallContext } from '#members';
import type { MountedVolume } from '#storage/host';
import { isRunning, statusOf, type PowerState } from '../model/index.js';
import { rootVolume, type InstanceRecord } from '../state/index.js';
import type { GuestSockets } from './guest/guest-sockets.js';
import type { HeldAction } from './action-locks.js';
import type { Ending, Power } from './driver.js';
import { giveToRoot } from './idmaps.js';
import type { OwnedDevices } from './owned-devices.js';
import type { Templates } from './templates.js';
import type { InstanceTools } from './tools.js';
import { internalContext } from './writer.js';

/** What a stop was asked for, so that the end of the instance is told as what it is. */
interface Expected {
  /** Lifecycle events of the end; none for the stop half of a restart. */
  lifecycle: string[];
  by: CallContext;
  /** Recorded as its last power state, for the next start of the daemon. */
  lastPower: 'STOPPED' | 'RUNNING';
  keepEphemeral: boolean;
}

export interface StopOptions {
  force: boolean;
  /** For a clean stop; below 0: for ever. */
  timeoutMs: number;
  /** What the next daemon takes it for: RUNNING when the host goes down. */
  lastPower?: 'STOPPED' | 'RUNNING';
}

export interface StartOptions {
  progress?: (text: string) => void;
  /** No event of its own: part of something larger. */
  quiet?: boolean;
}

/** From the end of a monitor to the word of it: only a file is read in between. */
const endToldMs = 10_000;

const alreadyRunning = (): Fault => fault.conflict('The instance is already running', { status: 400 });
const alreadyStopped = (): Fault => fault.conflict('The instance is already stopped', { status: 400 });

/** Starts, stops, freezes; and sees to it that an instance that ends, by whatever cause, leaves nothing behind. */
export class InstancePower {
  /** Mounts of running instances. */
  readonly #mounts = new Map<number, MountedVolume>();
  readonly #expected = new Map<number, Expected>();
  /** Host name → instance, for those that run. */
  readonly #running = new Map<string, number>();
  /** Ends that are being seen to. */
  readonly #cleaning = new Map<number, Promise<void>>();
  /** Who waits for an instance's end, cleaned up. */
  readonly #waiting = new Map<number, Set<() => void>>();
  /** Removes an ephemeral instance; set by who can. */
  removeEphemeral: (record: InstanceRecord) => Promise<void> = async () => {};
  /** Told when a root is another from now on: at a start, at an end, before it is removed. What was opened below it is closed when this resolves. */
  rootChanges: (record: Pick<InstanceRecord, 'id'>) => Promise<void> = async () => {};
  /** Before a start, while the instance is still stopped and held: its snapshot at startup. Set by who can. */
  beforeStart: (record: InstanceRecord, by: CallContext) => Promise<void> = async () => {};
  /** Told after a start and after an end. */
  changed: () => void = () => {};

  constructor(
    private readonly tools: InstanceTools,
    private readonly devices: OwnedDevices,
    private readonly templates: Templates,
    private readonly guests: GuestSockets,
  ) {}

  power(record: InstanceRecord): Promise<Power> {
    return this.tools.driver(record).power(this.tools.paths.key(record));
  }

  /** @throws Fault */
  async start(record: InstanceRecord, by: CallContext, options: StartOptions = {}): Promise<void> {
    await this.#endIsTold(record);
    using held = await this.tools.locks.take(record.id, 'start');
    await this.#start(this.tools.again(record), by, held, options);
  }

  /** What has ended but was not told of yet: its cleanup would take what a new start makes for what the old one left. */
  async #endIsTold(record: InstanceRecord): Promise<void> {
    if (isRunning((await this.power(record)).state) || !this.#isOurs(record)) return;
    const { hostName } = this.tools.paths.key(record);
    const over = this.#waitForEnd(record.id, endToldMs, new AbortController().signal);
    await over.catch(() => this.ended({ hostName, target: 'crash' }));
  }

  /** @throws Fault conflict: not running; unavailable: it did not stop in time */
  async stop(record: InstanceRecord, by: CallContext, options: StopOptions): Promise<void> {
    const state = (await this.power(record)).state;
    if (!isRunning(state)) throw alreadyStopped();
    const forced = options.force || options.timeoutMs === 0;
    const kill = (): Promise<void> => this.tools.driver(record).kill(this.tools.paths.key(record));
    using held = await (forced ? this.tools.locks.takeOver(record.id, 'stop', kill) : this.tools.locks.take(record.id, 'stop'));
    // What we took over has stopped it for us.
    if (forced && !this.#isOurs(record)) return;
    const lifecycle = [forced ? 'instance-stopped' : 'instance-shutdown'];
    await this.#stop(record, { lifecycle, by, lastPower: options.lastPower ?? 'STOPPED', keepEphemeral: false }, options, held.signal);
  }

  /** @throws Fault */
  async restart(record: InstanceRecord, by: CallContext, options: StopOptions): Promise<void> {
    if (!isRunning((await this.power(record)).state)) throw alreadyStopped();
    using held = await this.tools.locks.take(record.id, 'restart');
    // It is to run: should the daemon die in between, the next one starts it.
    await this.#stop(record, { lifecycle: [], by, lastPower: 'RUNNING', keepEphemeral: true }, options, held.signal);
    await this.#start(this.tools.again(record), by, held, { quiet: true });
    await this.tools.writer.recordSurely(record, { lifecycle: [{ action: 'instance-restarted' }] }, by);
  }

  /** Under a lock that the caller holds: a restore stops and starts. Should the daemon die in between, the next one starts it. */
  async stopHeld(record: InstanceRecord, by: CallContext, held: HeldAction): Promise<void> {
    await this.#stop(record, { lifecycle: [], by, lastPower: 'RUNNING', keepEphemeral: true }, { force: true, timeoutMs: 0 }, held.signal);
  }

  /** Before it is removed: nothing of it runs, and its end has been seen to. */
  async makeStopped(record: InstanceRecord, by: CallContext): Promise<void> {
    await this.rootChanges(record);
    if (this.#isOurs(record)) {
      const expected: Expected = { lifecycle: [], by, lastPower: 'STOPPED', keepEphemeral: true };
      return this.#stop(record, expected, { force: true, timeoutMs: 0 }, new AbortController().signal);
    }
    await this.tools.driver(record).kill(this.tools.paths.key(record));
    await this.#cleaning.get(record.id);
  }

  async startHeld(record: InstanceRecord, by: CallContext, held: HeldAction): Promise<void> {
    await this.#start(this.tools.again(record), by, held, { quiet: true });
  }

  async freeze(record: InstanceRecord, by: CallContext): Promise<void> {
    const { state } = await this.power(record);
    if (!isRunning(state)) throw fault.conflict("The container isn't running", { status: 400 });
    if (state === 'frozen') throw fault.conflict('The container is already frozen', { status: 400 });
    using _held = await this.tools.locks.take(record.id, 'update');
    await this.tools.driver(record).freeze(this.tools.paths.key(record));
    await this.tools.writer.recordSurely(record, { status: statusOf('frozen').status_code, lifecycle: [{ action: 'instance-paused' }] }, by);
  }

  async unfreeze(record: InstanceRecord, by: CallContext): Promise<void> {
    const { state } = await this.power(record);
    if (!isRunning(state)) throw fault.conflict("The container isn't running", { status: 400 });
    if (state !== 'frozen') throw fault.conflict('The container is already running', { status: 400 });
    using _held = await this.tools.locks.take(record.id, 'update');
    await this.#unfreeze(record, by);
  }

  async #unfreeze(record: InstanceRecord, by: CallContext): Promise<void> {
    await this.tools.driver(record).unfreeze(this.tools.paths.key(record));
    await this.tools.writer.recordSurely(record, { status: statusOf('running').status_code, lifecycle: [{ action: 'instance-resumed' }] }, by);
  }

  /** Holds what runs still for a moment, so that no file is half written in a copy of it. Not recorded: a daemon that dies meanwhile thaws it when it starts again. */
  async still(record: InstanceRecord): Promise<AsyncDisposable> {
    const driver = this.tools.driver(record);
    const key = this.tools.paths.key(record);
    const freezes = (await driver.power(key)).state === 'running';
    if (freezes) await driver.freeze(key);
    faultPoint('held still');
    return { [Symbol.asyncDispose]: async () => (freezes ? driver.unfreeze(key) : undefined) };
  }

  /** Tools.driver's onEnded: an instance is gone, asked for or not. */
  ended({ hostName, target }: Ending): void {
    const id = this.#running.get(hostName);
    if (id === undefined) return;
    this.#running.delete(hostName);
    const cleaning = this.#cleanUp(id, target).catch((error: unknown) =>
      this.tools.log.error({ err: error, instance: hostName }, 'could not clean up after an instance'),
    );
    this.#cleaning.set(id, cleaning);
    void cleaning.then(() => this.#cleaning.get(id) === cleaning && this.#cleaning.delete(id));
  }

  /** Found running when the daemon started: it is ours again. */
  async adopt(record: InstanceRecord, power: Power): Promise<void> {
    this.#running.set(this.tools.paths.key(record).hostName, record.id);
    this.#mounts.set(record.id, await this.tools.ports.storage.mount(rootVolume(record)));
    await this.guests.open(record);
    await this.devices.resume(record, power.pid);
    const held = power.state === 'frozen' && record.status === statusOf('running').status_code;
    if (held) await this.tools.driver(record).unfreeze(this.tools.paths.key(record));
    const { status_code } = statusOf(held ? 'running' : power.state);
    if (record.status !== status_code)
      await this.tools.writer.recordSurely(record, { status: status_code, volatile: { 'volatile.last_state.power': 'RUNNING' } });
  }

  /** Found stopped when the daemon started, though it ran when the last one ended. */
  async foundStopped(record: InstanceRecord): Promise<void> {
    await this.#release(record);
    await this.tools.writer.recordSurely(record, { status: statusOf('stopped').status_code });
  }

  async #start(record: InstanceRecord, by: CallContext, held: HeldAction, options: StartOptions): Promise<void> {
    const { ports, idmaps, writer, paths, log } = this.tools;
    const driver = this.tools.driver(record);
    const key = paths.key(record);
    if (isRunning((await driver.power(key)).state)) throw alreadyRunning();
    await this.rootChanges(record);
    await this.beforeStart(record, by);
    await using undo = new Undo(log);
    const volume = await ports.storage.mount(rootVolume(record));
    undo.add('mount', () => volume[Symbol.asyncDispose]());
    const rootfs = join(volume.path, 'rootfs');
    const disk = await idmaps.prepare(record, rootfs, options.progress ?? (() => {}), held.signal);
    const idmap = idmaps.next(record);
    await this.#makeDirectories(record);
    await this.templates.apply(record, volume.path, disk.onDisk);
    const volatile = this.#volatileOfStart(record, idmapToJson(idmap), idmapToJson(disk.onDisk));
    Object.assign(record.config, volatile);
    Object.assign(record.expandedConfig, volatile);
    await writer.recordSurely(record, { volatile });
    const { lines, afterStart } = await this.devices.prepare(record, undo);
    await giveToRoot(volume.path, idmap);
    await chmod(volume.path, 0o100);
    held.signal.throwIfAborted();
    this.#expected.delete(record.id);
    this.#running.set(key.hostName, record.id);
    undo.add('running', () => this.#running.delete(key.hostName));
    const spec = {
      ...key,
      name: record.name,
      architecture: record.architecture,
      config: record.expandedConfig,
      idmap,
      rootfs,
      rootfsIdmapped: disk.mapped,
    };
    const guestDirectory = await this.guests.open(record);
    undo.add('guest socket', () => this.guests.close(record));
    const { pid } = await driver.start({ ...spec, devices: lines, guestDirectory });
    undo.add('instance', () => driver.kill(key));
    for (const hook of afterStart) await hook(pid);
    held.signal.throwIfAborted();
    if (!this.#isOurs(record)) throw fault.internal('The instance stopped while it was started');
    undo.drop();
    this.#mounts.set(record.id, volume);
    const lifecycle = options.quiet ? [] : [{ action: 'instance-started' }];
    await writer.recordSurely(
      record,
      { status: statusOf('running').status_code, used: true, volatile: { 'volatile.last_state.power': 'RUNNING' }, lifecycle },
      by,
    );
    this.changed();
  }

  #volatileOfStart({ config }: InstanceRecord, current: string, onDisk: string): Record<string, string> {
    return {
      'volatile.idmap.current': current,
      'volatile.last_state.idmap': onDisk,
      'volatile.uuid': config['volatile.uuid'] ?? randomUUID(),
      'volatile.cloud-init.instance-id': config['volatile.cloud-init.instance-id'] ?? randomUUID(),
      'volatile.apply_template': '',
    };
  }

  async #makeDirectories(record: InstanceRecord): Promise<void> {
    const { paths } = this.tools;
    await mkdir(paths.logs(record), { recursive: true, mode: 0o700 });
    for (const directory of [paths.devices(record), paths.inject(record)]) await mkdir(directory, { recursive: true, mode: 0o711 });
  }

  async #stop(record: InstanceRecord, expected: Expected, options: StopOptions, signal: AbortSignal): Promise<void> {
    const driver = this.tools.driver(record);
    const key = this.tools.paths.key(record);
    // From here to the wait nothing is awaited: an end comes either before, or finds what is expected.
    if (!this.#isOurs(record)) throw alreadyStopped();
    this.#expected.set(record.id, expected);
    const over = this.#waitForEnd(record.id, options.force || options.timeoutMs <= 0 ? undefined : options.timeoutMs, signal);
    // Whatever happens first: a rejection must find a listener.
    over.catch(() => {});
    try {
      if (options.force || options.timeoutMs === 0) await driver.kill(key);
      else {
        if ((await driver.power(key)).state === 'frozen') await this.#unfreeze(record, expected.by);
        await driver.shutdown(key, haltSignal(record));
      }
      await over;
    } catch (error) {
      if (this.#expected.get(record.id) === expected) this.#expected.delete(record.id);
      throw error;
    }
  }

  /** Told to run, and not told to have ended. */
  #isOurs(record: InstanceRecord): boolean {
    return this.#running.has(this.tools.paths.key(record).hostName);
  }

  #waitForEnd(id: number, timeoutMs: number | undefined, signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiting = this.#waiting.get(id) ?? new Set();
    this.#waiting.set(id, waiting);
    waiting.add(resolve);
    const timedOut = (): void => reject(fault.unavailable('Failed shutting down instance, status is "Running": context deadline exceeded'));
    const timer = timeoutMs === undefined ? undefined : setTimeout(timedOut, timeoutMs);
    const interrupted = (): void => reject(Fault.from(signal.reason));
    signal.addEventListener('abort', interrupted, { once: true });
    return promise.finally(() => {
      clearTimeout(timer);
      waiting.delete(resolve);
      signal.removeEventListener('abort', interrupted);
    });
  }

  async #cleanUp(id: number, target: Ending['target']): Promise<void> {
    const expected = this.#expected.get(id);
    this.#expected.delete(id);
    // Asked for: whoever asked holds the lock and waits for us. By itself: nothing else may be at work.
    const held = expected ? undefined : await this.tools.locks.takeWhenFree(id, 'cleanup');
    try {
      const record = this.tools.again({ id });
      await this.#release(record);
      const reboots = expected === undefined && target === 'reboot';
      const lifecycle = (expected?.lifecycle ?? (reboots ? [] : ['instance-shutdown'])).map((action) => ({ action }));
      const volatile = { 'volatile.last_state.power': expected?.lastPower ?? (reboots ? 'RUNNING' : 'STOPPED') };
      await this.tools.writer.recordSurely(record, { status: statusOf('stopped').status_code, volatile, lifecycle }, expected?.by ?? internalContext);
      if (target === 'crash') this.tools.log.warn({ instance: record.name, project: record.project }, 'the monitor of an instance died');
      if (reboots && held) await this.#reboot(record, held);
      else if (record.ephemeral && !expected?.keepEphemeral && expected?.lastPower !== 'RUNNING') {
        // From here it is removed like any other; it must not wait for itself.
        this.#cleaning.delete(id);
        await this.removeEphemeral(record);
      }
    } finally {
      held?.[Symbol.dispose]();
      for (const done of this.#waiting.get(id) ?? []) done();
      this.#waiting.delete(id);
      this.changed();
    }
  }

  async #reboot(record: InstanceRecord, held: HeldAction): Promise<void> {
    await this.#start(this.tools.again(record), internalContext, held, { quiet: true });
    await this.tools.writer.recordSurely(record, { lifecycle: [{ action: 'instance-restarted' }] });
  }

  /** What is left of an instance that no longer runs. */
  async #release(record: InstanceRecord): Promise<void> {
    await this.rootChanges(record);
    await this.guests.close(record);
    await this.devices.release(record);
    const volume = this.#mounts.get(record.id);
    if (!volume) return;
    this.#mounts.delete(record.id);
    // The range may be another's by the next start.
    await giveToRoot(volume.path, []);
    await volume[Symbol.asyncDispose]();
  }
}

/** What raw.lxc says the instance wants to be told with. */
function haltSignal({ expandedConfig }: InstanceRecord): string | undefined {
  return /^\s*lxc\.signal\.halt\s*=\s*(\S+)/m.exec(expandedConfig['raw.lxc'] ?? '')?.[1];
}

export type { PowerState };
