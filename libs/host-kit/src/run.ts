import { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { fault, Fault } from '#kit';
import { closeFd, SystemError } from './libc.js';
import { makePipe, readerOf, writerOf } from './pipe.js';
import { requireProgram } from './programs.js';
import { defaultEnv, spawn, type Ending, type SpawnedProcess, type SpawnOptions } from './spawn.js';

export interface StartOptions {
  /** Added to the default environment (PATH, LANG, HOME). */
  env?: Readonly<Record<string, string>>;
  /** Default '/'. */
  cwd?: string;
  /** Runs as this user with the group of the same number and no others. Default: as ourselves. */
  uid?: number;
  /** Further descriptors: child's number (3 or more) → ours; ours stay open and ours to close. */
  fds?: Readonly<Record<number, number>>;
  /** Killed with the daemon, however that ends: for what fills a directory that the next daemon clears away. */
  diesWithUs?: boolean;
}

export interface RunOptions extends StartOptions {
  /** Goes to standard input; without it the program reads /dev/null. A text is sent as UTF-8. */
  input?: string | Uint8Array | Readable;
  /** The whole process group is killed after this time. Default 60,000. */
  timeoutMs?: number;
  /** Of each of stdout and stderr; a program that says more is killed. Default 1 MiB. */
  outputMaxBytes?: number;
  signal?: AbortSignal;
}

export interface RunResult extends Ending {
  stdout: Buffer;
  stderr: Buffer;
}

const outputDefaultMaxBytes = 1024 * 1024;
const tailBytes = 2000;
const leftBehindMs = 1000;

/**
 * Runs a program to its end and collects what it said. A non-zero code is a result, not an error.
 * @param program a name, found in the fixed directories, or an absolute path
 * @throws Fault unsupported: not installed; unavailable: the deadline passed or the caller went away; internal: too much output, or it could not start
 */
export async function run(program: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  if (options.signal?.aborted) throw fault.unavailable(`Program '${program}' was cancelled`, { cause: options.signal.reason });
  const max = options.outputMaxBytes ?? outputDefaultMaxBytes;
  const child = start(program, args, { ...options, stdin: options.input === undefined ? 'null' : 'pipe', stdout: 'pipe', stderr: 'pipe' });
  let failure: Fault | undefined;
  let grace: NodeJS.Timeout | undefined;
  const stop = (reason: Fault): void => {
    failure ??= reason;
    child.kill('SIGKILL', true);
    // What left its session may still hold the pipes; we no longer listen.
    child.stdout.destroy();
    child.stderr.destroy();
    child.stdin.destroy();
  };
  const timer = setTimeout(
    () => stop(fault.unavailable(`Program '${program}' did not end in time`, { detail: args.join(' ') })),
    options.timeoutMs ?? 60_000,
  );
  const onAbort = (): void => stop(fault.unavailable(`Program '${program}' was cancelled`, { cause: options.signal?.reason }));
  options.signal?.addEventListener('abort', onAbort, { once: true });
  const tooMuch = (): void =>
    stop(fault.internal(`Program '${program}' said more than expected`, { detail: `over ${max} bytes: ${args.join(' ')}` }));
  try {
    const feeding = options.input === undefined ? undefined : feed(child.stdin, options.input, stop);
    const output = Promise.all([collect(child.stdout, max, tooMuch), collect(child.stderr, max, tooMuch)]);
    const ending = await child.ended;
    child.stdin.destroy();
    // A process left behind in the background may hold the pipes for ever; what the program itself said is in them by now.
    grace = setTimeout(() => (child.stdout.destroy(), child.stderr.destroy()), leftBehindMs);
    const [stdout, stderr] = await output;
    await feeding;
    if (failure) throw failure;
    return { ...ending, stdout, stderr };
  } finally {
    clearTimeout(timer);
    clearTimeout(grace);
    options.signal?.removeEventListener('abort', onAbort);
  }
}

export interface RunOkOptions extends RunOptions {
  /** The public sentence when it fails. Default: "Program 'x' failed". */
  failure?: string;
}

/**
 * Runs a program that must succeed; gives its stdout.
 * @throws Fault internal with the public sentence, and the program's last words as its detail; otherwise as `run`
 */
export async function runOk(program: string, args: readonly string[], options: RunOkOptions = {}): Promise<Buffer> {
  const result = await run(program, args, options);
  if (result.code !== 0) throw programFailed(program, args, result, result.stderr, options.failure);
  return result.stdout;
}

/** The fault of a program that ended badly: what it said goes to the log, not to the client. */
export function programFailed(program: string, args: readonly string[], ending: Ending, stderr: Buffer, failure?: string): Fault {
  const how = ending.signal === null ? `code ${ending.code}` : ending.signal;
  const words = stderr.subarray(-tailBytes).toString('utf8').trim();
  return fault.internal(failure ?? `Program '${program}' failed`, { detail: `${[program, ...args].join(' ')}: ${how}: ${words}` });
}

export interface StreamOptions extends StartOptions {
  stdin: 'pipe' | 'null' | number;
  stdout: 'pipe' | 'null' | number;
  stderr: 'pipe' | 'null' | number;
  /** Of a pipe's buffer. Default 256 KiB for stdin and stdout. */
  pipeBytes?: number;
}

/** A running program whose standard descriptors are streams. Streams that were not asked for are ended ones. */
export interface RunningProgram extends SpawnedProcess {
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
}

/**
 * Starts a program with streams that carry back-pressure; the caller consumes stdout and stderr (or destroys them), awaits `ended`, and kills it when
 * it goes away. Use `streamThrough` where bytes only pass.
 * @throws Fault unsupported: not installed; internal: it could not start
 */
export function start(program: string, args: readonly string[], options: StreamOptions): RunningProgram {
  const size = options.pipeBytes ?? 256 * 1024;
  const theirs: number[] = [];
  const ours: number[] = [];
  const sourceOf = (wish: StreamOptions['stdin'], direction: 'in' | 'out', bytes: number | undefined): [number | 'null', number | undefined] => {
    if (wish !== 'pipe') return [wish, undefined];
    const { readFd, writeFd } = makePipe(bytes);
    const [their, our] = direction === 'in' ? [readFd, writeFd] : [writeFd, readFd];
    theirs.push(their);
    ours.push(our);
    return [their, our];
  };
  let child: SpawnedProcess;
  let stdinFd: number | undefined, stdoutFd: number | undefined, stderrFd: number | undefined;
  try {
    let stdin, stdout, stderr;
    [stdin, stdinFd] = sourceOf(options.stdin, 'in', size);
    [stdout, stdoutFd] = sourceOf(options.stdout, 'out', size);
    [stderr, stderrFd] = sourceOf(options.stderr, 'out', undefined);
    child = spawn({ ...commandLine(program, args, options), stdio: [stdin, stdout, stderr], fds: options.fds });
  } catch (error) {
    for (const fd of ours) closeFd(fd);
    throw startFailed(program, error);
  } finally {
    for (const fd of theirs) closeFd(fd);
  }
  const streams = {
    stdin: stdinFd === undefined ? noWriter() : writerOf(stdinFd),
    stdout: stdoutFd === undefined ? Readable.from([]) : readerOf(stdoutFd),
    stderr: stderrFd === undefined ? Readable.from([]) : readerOf(stderrFd),
  };
  // A program that stops reading makes EPIPE of us; how it ended says why.
  streams.stdin.on('error', () => {});
  return Object.assign(child, streams);
}

export interface StreamThroughOptions extends StartOptions {
  /** Default: none; what moves bytes may rightly take hours. */
  timeoutMs?: number;
  signal?: AbortSignal;
  /** The public sentence when it fails. */
  failure?: string;
}

/**
 * Input → program → output, with back-pressure end to end; either side may be left out. Resolves when the program has succeeded and the output has
 * everything (`output` is ended). Whatever breaks, the program is killed and both streams are destroyed.
 * @throws Fault as runOk; what the input or output threw is its cause
 */
export async function streamThrough(
  input: Readable | undefined,
  program: string,
  args: readonly string[],
  output: Writable | undefined,
  options: StreamThroughOptions = {},
): Promise<void> {
  const child = start(program, args, { ...options, stdin: input ? 'pipe' : 'null', stdout: output ? 'pipe' : 'null', stderr: 'pipe' });
  const stderr = tailOf(child.stderr);
  const timer = options.timeoutMs === undefined ? undefined : setTimeout(() => child.kill('SIGKILL', true), options.timeoutMs);
  const signal = options.signal;
  let broken: unknown;
  const stop = (error: unknown): void => {
    broken ??= error;
    child.kill('SIGKILL', true);
  };
  const onAbort = (): void => stop(signal?.reason);
  if (signal?.aborted) onAbort();
  signal?.addEventListener('abort', onAbort, { once: true });
  input?.once('error', stop);
  output?.once('error', stop);
  const feeding = input && pipeline(input, child.stdin).catch(() => input.destroy());
  // The output must not look whole before the program is known to have succeeded, so it is ended below.
  const draining = output && pipeline(child.stdout, output, { end: false }).catch(stop);
  try {
    const ending = await child.ended;
    child.stdin.destroy();
    await Promise.all([feeding, draining]);
    if (broken !== undefined)
      throw Fault.from(broken) === broken ? broken : fault.internal(options.failure ?? `Program '${program}' was interrupted`, { cause: broken });
    if (ending.code !== 0) throw programFailed(program, args, ending, await stderr, options.failure);
    if (output) await new Promise<void>((resolve, reject) => output.end((error?: Error | null) => (error ? reject(error) : resolve())));
  } catch (error) {
    input?.destroy();
    output?.destroy();
    throw error;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
  }
}

/** Reads a stream to its end and keeps the last words. */
async function tailOf(stream: Readable): Promise<Buffer> {
  let tail: Buffer = Buffer.alloc(0);
  stream.on('data', (chunk: Buffer) => (tail = Buffer.concat([tail, chunk]).subarray(-tailBytes)));
  await new Promise<void>((resolve) => stream.once('close', resolve));
  return tail;
}

/** Path, arguments, environment and folder of a program, for `spawn`; with `uid` or `diesWithUs` through setpriv. @throws Fault unsupported */
export function commandLine(program: string, args: readonly string[], options: StartOptions): Pick<SpawnOptions, 'path' | 'args' | 'env' | 'cwd'> {
  const path = requireProgram(program);
  const env = { ...defaultEnv, ...options.env };
  const { uid, diesWithUs, cwd } = options;
  const identity = uid === undefined ? [] : [`--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', '--inh-caps=-all', '--no-new-privs'];
  const privileges = [...identity, ...(diesWithUs ? ['--pdeathsig', 'KILL'] : [])];
  if (privileges.length === 0) return { path, args, env, cwd };
  return { path: requireProgram('setpriv'), args: [...privileges, '--', path, ...args], env, cwd };
}

export function startFailed(program: string, error: unknown): Fault {
  if (error instanceof Fault) return error;
  const detail = error instanceof SystemError ? error.message : undefined;
  return fault.internal(`Program '${program}' could not be started`, { cause: error, detail });
}

async function collect(stream: Readable, maxBytes: number, tooMuch: () => void): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  stream.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > maxBytes) tooMuch();
    else chunks.push(chunk);
  });
  await new Promise<void>((resolve) => stream.once('close', resolve));
  return Buffer.concat(chunks);
}

async function feed(stdin: Writable, input: string | Uint8Array | Readable, stop: (reason: Fault) => void): Promise<void> {
  if (!(input instanceof Readable)) {
    stdin.end(input);
    return;
  }
  let broken: unknown;
  input.once('error', (error) => (broken = error));
  try {
    await pipeline(input, stdin);
  } catch {
    // The program closing its input early is its right; a source that broke must not look like a whole one.
    if (broken !== undefined) stop(fault.internal('The input of a program broke off', { cause: broken }));
  }
}

function noWriter(): Writable {
  return new Writable({ write: (_chunk, _encoding, done) => done() }).destroy();
}
