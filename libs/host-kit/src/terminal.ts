import { chownSync } from 'node:fs';
import { ReadStream } from 'node:tty';
import type { Duplex } from 'node:stream';
import { check, closeFd, libc } from './libc.js';
import { commandLine, startFailed, type StartOptions } from './run.js';
import { spawn, type SpawnedProcess } from './spawn.js';

const O_RDWR = 2;
const O_NOCTTY = 0o400;
const O_CLOEXEC = 0o2000000;
const TIOCSWINSZ = 0x5414;
const TCGETS = 0x5401;
const TCSETS = 0x5402;
/** Words of struct termios, and their bits. */
const oflag = 1;
const lflag = 3;
const OPOST = 1;
const ICANON = 2;
const relayPatienceMs = 5_000;
const relayTrailMs = 200;

export interface TerminalSize {
  columns: number;
  rows: number;
}

export interface TerminalOptions extends StartOptions {
  size?: TerminalSize;
  /** Who owns the terminal's device, so that a program that changes its user can still open it. Default: ourselves. */
  owner?: { uid: number; gid: number };
  /** The program relays a terminal of its own (lxc-attach): once it made this one raw, line ends of its output are not touched a second time. */
  relays?: boolean;
}

/** A program on a terminal of its own. */
export interface TerminalProgram extends SpawnedProcess {
  /** What the program writes, and keystrokes for it; raw, with back-pressure. Ends when nobody has the terminal open any more. */
  readonly stream: Duplex;
  /** '/dev/pts/N' of the host. */
  readonly terminalPath: string;
  /** The program gets SIGWINCH. Nothing happens after the end. */
  resize(size: TerminalSize): void;
}

/**
 * Starts a program on a new terminal, which is its controlling one. Destroying the stream hangs up: the program gets SIGHUP.
 * @throws Fault unsupported: not installed; internal: it could not start
 */
export function startOnTerminal(program: string, args: readonly string[], options: TerminalOptions = {}): TerminalProgram {
  const { fd, path } = openTerminal();
  let child: SpawnedProcess;
  let kept: number | undefined;
  try {
    if (options.size) setSize(fd, options.size);
    if (options.owner) chownSync(path, options.owner.uid, options.owner.gid);
    child = spawn({ ...commandLine(program, args, options), fds: options.fds, terminal: path });
    kept = fd;
  } catch (error) {
    throw startFailed(program, error);
  } finally {
    if (kept === undefined) closeFd(fd);
  }
  const stream = new ReadStream(fd, { readableHighWaterMark: 64 * 1024, writableHighWaterMark: 64 * 1024 } as object);
  endOnHangup(stream);
  if (options.relays) passOutputOnceRaw(fd, stream);
  return Object.assign(child, {
    stream: stream as Duplex,
    terminalPath: path,
    resize: (size: TerminalSize): void => {
      if (!stream.destroyed) setSize(fd, size);
    },
  });
}

/** The kernel tells a master that the last slave was closed by EIO: for us the end, after what is still buffered, and not an error. */
function endOnHangup(stream: ReadStream): void {
  const destroy = stream.destroy.bind(stream);
  let hungUp = false;
  stream.destroy = (error?: Error): ReadStream => {
    if ((error as NodeJS.ErrnoException | undefined)?.code !== 'EIO') return destroy(error);
    if (hungUp) return destroy();
    hungUp = true;
    stream.push(null);
    return stream;
  };
}

/** The program makes its terminal raw a moment after its start, perhaps in several steps, and nothing tells us when. */
function passOutputOnceRaw(fd: number, stream: ReadStream): void {
  let lookUntil = performance.now() + relayPatienceMs;
  const timer = setInterval(() => {
    if (stream.destroyed || performance.now() > lookUntil) return clearInterval(timer);
    const termios = new Uint32Array(16);
    const bytes = new Uint8Array(termios.buffer);
    if (libc.ioctl(fd, TCGETS, bytes) < 0) return clearInterval(timer);
    if ((termios[lflag]! & ICANON) !== 0 || (termios[oflag]! & OPOST) === 0) return;
    lookUntil = Math.min(lookUntil, performance.now() + relayTrailMs);
    termios[oflag]! &= ~OPOST;
    libc.ioctl(fd, TCSETS, bytes);
  }, 1);
}

function openTerminal(): { fd: number; path: string } {
  const fd = check(libc.posixOpenpt(O_RDWR | O_NOCTTY | O_CLOEXEC), 'posix_openpt');
  try {
    check(libc.grantpt(fd), 'grantpt');
    check(libc.unlockpt(fd), 'unlockpt');
    const name = new Uint8Array(64);
    check(-Math.abs(libc.ptsnameR(fd, name, name.length)), 'ptsname_r');
    return { fd, path: Buffer.from(name.subarray(0, name.indexOf(0))).toString() };
  } catch (error) {
    closeFd(fd);
    throw error;
  }
}

function setSize(fd: number, size: TerminalSize): void {
  const words = new Uint16Array([size.rows, size.columns, 0, 0]);
  check(libc.ioctl(fd, TIOCSWINSZ, new Uint8Array(words.buffer)), 'TIOCSWINSZ');
}
