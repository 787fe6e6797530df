import { randomBytes } from 'node:crypto';
import { createWriteStream, existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import type { RawData, WebSocket } from 'ws';
import type { Operation } from '#api-contract';
import { fault } from '#kit';
import type { CallContext } from '#members';
import type { RunningOperation } from '#operations/host';
import { execEnvironment, isRunning } from '../model/index.js';
import { instanceUrl, type InstanceRecord } from '../state/index.js';
import type { ExecProcess, ExecRequest, ExecTerminal } from './driver.js';
import type { InstancePower } from './power.js';
import { receiveStream, sendStream } from './socket-streams.js';
import type { InstanceTools } from './tools.js';

/** Body of POST …/exec. */
export interface ExecPost {
  command: string[];
  waitForWebsocket: boolean;
  interactive: boolean;
  environment: Record<string, string>;
  width: number;
  height: number;
  recordOutput: boolean;
  user: number;
  group: number;
  cwd: string;
}

const connectWithinMs = 5_000;
/** How long output of what a command left in the background is still waited for. */
const drainMs = 1_000;
const sizeDefault = { columns: 80, rows: 24 };
/** Where distributions have more programs: a directory that only they have → what they add to PATH. */
const extraPaths = { '/snap': '/snap/bin', '/etc/NIXOS': '/run/current-system/sw/bin' };

/** Commands and consoles of this member's instances, over the sockets of their operations. */
export class InstanceExec {
  constructor(
    private readonly tools: InstanceTools,
    private readonly power: InstancePower,
  ) {}

  /** @throws Fault invalid: not running, frozen, no command */
  async exec(record: InstanceRecord, post: ExecPost, by: CallContext): Promise<Operation> {
    const pid = await this.#running(record);
    if (post.command.length === 0) throw fault.invalid('No command given');
    const words = [...post.command, ...Object.entries(post.environment).flat(), post.cwd];
    if (words.some((word) => word.includes('\0'))) throw fault.invalid('Commands may not hold NUL characters');
    for (const name of Object.keys(post.environment))
      if (name === '' || name.includes('=')) throw fault.invalid(`Invalid environment variable name "${name}"`);
    const extra = Object.entries(extraPaths).flatMap(([path, added]) => (existsSync(`/proc/${pid}/root${path}`) ? [added] : []));
    const environment = execEnvironment(post.environment, record.expandedConfig, post.user, extra);
    const request: ExecRequest = { command: post.command, environment, uid: post.user, gid: post.group, cwd: post.cwd };
    const shared = {
      description: 'Executing command',
      project: record.project,
      resources: { instances: [instanceUrl(record.project, record.name)] },
      context: by,
    };
    if (!post.waitForWebsocket)
      return this.tools.ports.operations.start({ ...shared, run: (operation) => this.#record(record, request, post.recordOutput, operation, by) });
    const session = new ExecSession(post.interactive ? ['0'] : ['0', '1', '2'], post.interactive);
    const metadata = { command: post.command, environment, fds: session.secrets, interactive: post.interactive };
    return this.tools.ports.operations.start({
      ...shared,
      class: 'websocket',
      metadata,
      sockets: { secrets: session.secrets, connect: (name, socket) => session.connect(name, socket) },
      run: (operation) => session.run(operation, (): Promise<ExecProcess | ExecTerminal> => this.#begin(record, request, post, by)),
    });
  }

  /** @throws Fault invalid: not running, frozen */
  async console(record: InstanceRecord, size: { width: number; height: number }, by: CallContext): Promise<Operation> {
    await this.#running(record);
    const session = new ExecSession(['0'], true, false);
    const { ports, paths } = this.tools;
    return ports.operations.start({
      description: 'Showing console',
      project: record.project,
      resources: { instances: [instanceUrl(record.project, record.name)] },
      context: by,
      class: 'websocket',
      metadata: { fds: session.secrets },
      sockets: { secrets: session.secrets, connect: (name, socket) => session.connect(name, socket) },
      run: async (operation) => {
        await session.run(operation, async () => {
          const terminal = await this.tools.driver(record).console(paths.key(record), sizeOf(size));
          this.tools.tell(record, 'instance-console', by, { type: 'console' });
          return terminal;
        });
      },
    });
  }

  async #running(record: InstanceRecord): Promise<number> {
    const { state, pid } = await this.power.power(record);
    if (!isRunning(state)) throw fault.invalid('Instance is not running');
    if (state === 'frozen') throw fault.invalid('Instance is frozen');
    return pid;
  }

  async #begin(record: InstanceRecord, request: ExecRequest, post: ExecPost, by: CallContext): Promise<ExecProcess | ExecTerminal> {
    const driver = this.tools.driver(record);
    const key = this.tools.paths.key(record);
    const process = post.interactive ? await driver.execOnTerminal(key, request, sizeOf(post)) : await driver.exec(key, request);
    this.tools.tell(record, 'instance-exec', by, { command: request.command });
    return process;
  }

  async #record(
    record: InstanceRecord,
    request: ExecRequest,
    keep: boolean,
    operation: RunningOperation,
    by: CallContext,
  ): Promise<Record<string, unknown>> {
    const key = this.tools.paths.key(record);
    const process = await this.tools.driver(record).exec(key, request);
    this.tools.tell(record, 'instance-exec', by, { command: request.command });
    process.stdin.destroy();
    const output: Record<string, string> = {};
    const kept: Promise<void>[] = [];
    for (const [number, name] of [
      ['1', 'stdout'],
      ['2', 'stderr'],
    ] as const) {
      if (!keep) {
        process[name].resume();
        continue;
      }
      await mkdir(key.logDirectory, { recursive: true, mode: 0o700 });
      const file = `exec_${operation.id}.${name}`;
      output[number] = `/1.0/instances/${encodeURIComponent(record.name)}/logs/${file}`;
      const writer = createWriteStream(join(key.logDirectory, file), { mode: 0o600 });
      process[name].pipe(writer);
      kept.push(finished(writer));
    }
    const code = await process.exited;
    await Promise.race([Promise.all(kept), pause(drainMs)]);
    operation.update({ ...(keep ? { output } : {}), return: code });
    throwIfNoCommand(code);
    return { return: code };
  }
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms).unref());

const sizeOf = ({ width, height }: { width: number; height: number }): { columns: number; rows: number } =>
  width > 0 && height > 0 && width < 65_536 && height < 65_536 ? { columns: width, rows: height } : sizeDefault;

function throwIfNoCommand(code: number): void {
  if (code === 127) throw fault.notFound('Command not found');
  if (code === 126) throw fault.invalid('Command not executable');
}

/** The sockets of one command: they come in any order, then the command starts; when they go, it goes. */
class ExecSession {
  /** By the names under which `fds` shows them. */
  readonly secrets: Record<string, string>;
  readonly #sockets = new Map<string, WebSocket>();
  readonly #complete = Promise.withResolvers<void>();
  readonly #required: readonly string[];
  #process?: ExecProcess | ExecTerminal;
  #over = false;

  /** @param reports the command's exit code is part of the answer */
  constructor(
    streams: readonly string[],
    private readonly interactive: boolean,
    private readonly reports = true,
  ) {
    this.secrets = Object.fromEntries([...streams, 'control'].map((name) => [name, randomBytes(32).toString('hex')]));
    // Old clients open no control socket for a command without a terminal.
    this.#required = interactive && reports ? [...streams, 'control'] : streams;
  }

  connect(name: string, socket: WebSocket): void {
    // Nothing may be lost before there is a command to take it.
    socket.pause();
    this.#sockets.set(name, socket);
    if (name === 'control' && this.#process) this.#listen(socket);
    if (this.#required.every((one) => this.#sockets.has(one))) this.#complete.resolve();
  }

  async run(operation: RunningOperation, begin: () => Promise<ExecProcess | ExecTerminal>): Promise<Record<string, unknown>> {
    try {
      await this.#connected();
      const process = (this.#process = await begin());
      const aborted = (): void => process.signal(9);
      operation.signal.addEventListener('abort', aborted, { once: true });
      const control = this.#sockets.get('control');
      if (control) this.#listen(control);
      const sent = 'stream' in process ? this.#wireTerminal(process) : this.#wirePipes(process);
      const code = await process.exited;
      this.#over = true;
      operation.signal.removeEventListener('abort', aborted);
      await Promise.race([sent, pause(drainMs)]);
      if (!this.reports) return {};
      operation.update({ return: code });
      throwIfNoCommand(code);
      return { return: code };
    } finally {
      this.#over = true;
      this.#closeAll();
    }
  }

  async #connected(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(fault.unavailable('Timed out waiting for websockets to connect')), connectWithinMs);
    });
    await Promise.race([this.#complete.promise, late]).finally(() => clearTimeout(timer));
  }

  #wirePipes(process: ExecProcess): Promise<unknown> {
    const [stdin, stdout, stderr] = ['0', '1', '2'].map((name) => this.#sockets.get(name)!) as [WebSocket, WebSocket, WebSocket];
    receiveStream(stdin, process.stdin);
    const sent = Promise.all([sendStream(process.stdout, stdout), sendStream(process.stderr, stderr)]);
    for (const socket of [stdout, stderr]) socket.resume();
    // Without a control socket this is how we learn that the client went away.
    this.#whenClosed(stdout, () => !this.#sockets.has('control') && this.#kill());
    return sent;
  }

  #wireTerminal(process: ExecTerminal): Promise<unknown> {
    const socket = this.#sockets.get('0')!;
    const sent = sendStream(process.stream, socket);
    socket.on('message', (data: RawData, binary: boolean) => {
      const bytes = data as Buffer;
      if ((!binary && bytes.length === 0) || process.stream.destroyed || process.stream.write(bytes)) return;
      socket.pause();
      process.stream.once('drain', () => socket.resume());
      process.stream.once('close', () => socket.resume());
    });
    socket.resume();
    this.#whenClosed(socket, () => this.#hangUp(process));
    return sent;
  }

  #hangUp(process: ExecTerminal): void {
    if (this.#over) return;
    process.signal(1);
    process.stream.destroy();
    // Whatever survives a hang-up has nobody left to talk to.
    setTimeout(() => this.#kill(), drainMs).unref();
  }

  #listen(control: WebSocket): void {
    control.on('message', (data: RawData) => this.#obey(data as Buffer));
    this.#whenClosed(control, () => this.#kill());
    control.resume();
  }

  #obey(data: Buffer): void {
    let message: { command?: unknown; signal?: unknown; args?: { width?: unknown; height?: unknown } };
    try {
      message = JSON.parse(data.toString()) as typeof message;
    } catch {
      return;
    }
    const process = this.#process;
    if (!process || this.#over || message === null || typeof message !== 'object') return;
    if (message.command === 'signal' && Number.isInteger(message.signal)) {
      const number = message.signal as number;
      if (number > 0 && number <= 64) process.signal(number);
    }
    if (message.command === 'window-resize' && 'resize' in process) {
      const [columns, rows] = [Number(message.args?.width), Number(message.args?.height)];
      if (columns > 0 && rows > 0 && columns < 65_536 && rows < 65_536) process.resize(columns, rows);
    }
  }

  #kill(): void {
    if (!this.#over) this.#process?.signal(9);
  }

  #whenClosed(socket: WebSocket, then: () => void): void {
    if (socket.readyState === socket.OPEN) socket.once('close', then);
    else then();
  }

  #closeAll(): void {
    for (const socket of this.#sockets.values()) {
      // Let out what is still on its way; a client that does not answer the close is cut off by ws itself.
      if (socket.isPaused) socket.resume();
      socket.close(1000);
    }
  }
}
