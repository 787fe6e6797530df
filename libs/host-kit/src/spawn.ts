import { constants as fsConstants } from 'node:fs';
import { constants } from 'node:os';
import { faultPoint } from '#kit';
import { withChildLimits } from './child-limits.js';
import { check, closeFd, libc, SystemError } from './libc.js';
import { reaper } from './reaper.js';

/**
 * The one way Muster starts programs: posix_spawn. Node's own spawn forks, and its cost grows with the parent's memory; a bare posix_spawn would
 * hand the child our ignored signals and close-on-exec standard descriptors. So the child always gets: its own session, default signals, an empty
 * mask, exactly the descriptors named here, an explicit environment, a working directory, and the limits a program expects rather than the daemon's.
 */
export interface SpawnOptions {
  /** An absolute path; nothing is looked up. */
  path: string;
  /** Without argv[0], which is the path. */
  args: readonly string[];
  /** The whole environment: nothing is inherited. Default: PATH, LANG=C.UTF-8, HOME=/root. */
  env?: Readonly<Record<string, string>>;
  /** Default '/'. */
  cwd?: string;
  /** What becomes 0, 1, 2: a descriptor of ours (still ours to close), or /dev/null. Default: /dev/null. */
  stdio?: readonly [StdioSource, StdioSource, StdioSource];
  /** Further descriptors: child's number (3 or more) → ours. */
  fds?: Readonly<Record<number, number>>;
  /** Path of a terminal that becomes 0, 1 and 2 and the controlling terminal; stdio is then unused. */
  terminal?: string;
}
export type StdioSource = number | 'null';

/** How a program ended: one of the two is null. */
export interface Ending {
  code: number | null;
  /** 'SIGTERM' …; a real-time signal as 'SIG34'. */
  signal: string | null;
}

export interface SpawnedProcess {
  readonly pid: number;
  /** Settles once when the process has ended and was reaped; never rejects. */
  readonly ended: Promise<Ending>;
  /** Undefined while it runs. */
  readonly ending: Ending | undefined;
  /** Sends a signal to it, or with `group` to all of its process group; false when the process has ended (its number may be someone else's by now). */
  kill(signal: NodeJS.Signals, group?: boolean): boolean;
  /** The daemon may exit while this one runs: waiting for it no longer keeps the event loop alive. */
  unref(): void;
}

export const safePath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
export const defaultEnv: Readonly<Record<string, string>> = { PATH: safePath, LANG: 'C.UTF-8', HOME: '/root' };

const { O_RDWR } = fsConstants;
const SETSIGDEF = 0x04;
const SETSIGMASK = 0x08;
const SETSID = 0x80;
const F_DUPFD_CLOEXEC = 1030;
/** Room for glibc's opaque structs: posix_spawnattr_t 336, file_actions_t 80, sigset_t 128 bytes. */
const structBytes = 512;

/** Starts a program. It is running when this returns. @throws SystemError ENOENT, EACCES …: as exec said */
export function spawn(options: SpawnOptions): SpawnedProcess {
  reaper.listen();
  const borrowed: number[] = [];
  const actions = new Uint8Array(structBytes);
  succeed(libc.actionsInit(actions), 'posix_spawn_file_actions_init');
  try {
    addFileActions(actions, options, borrowed);
    const child = reaper.adopt(execute(options, actions));
    faultPoint(`started: ${options.path} ${options.args.join(' ')}`);
    return child;
  } finally {
    libc.actionsDestroy(actions);
    for (const fd of borrowed) closeFd(fd);
  }
}

function addFileActions(actions: Uint8Array, options: SpawnOptions, borrowed: number[]): void {
  const targets = new Map<number, number>();
  for (const [child, ours] of Object.entries(options.fds ?? {})) targets.set(Number(child), ours);
  const highest = Math.max(2, ...targets.keys());
  // A descriptor that an earlier dup2 would overwrite is first moved out of the way.
  const outOfTheWay = (fd: number): number => {
    if (fd > highest) return fd;
    const moved = check(libc.fcntl(fd, F_DUPFD_CLOEXEC, highest + 1), 'fcntl', String(fd));
    borrowed.push(moved);
    return moved;
  };
  if (options.terminal !== undefined) {
    // The child is a session leader by now: the first terminal that it opens becomes its controlling one.
    succeed(libc.actionsAddOpen(actions, 0, options.terminal, O_RDWR, 0), 'addopen');
    succeed(libc.actionsAddDup2(actions, 0, 1), 'adddup2');
    succeed(libc.actionsAddDup2(actions, 0, 2), 'adddup2');
  } else {
    const stdio = options.stdio ?? (['null', 'null', 'null'] as const);
    for (const [target, source] of stdio.entries()) {
      if (source === 'null') succeed(libc.actionsAddOpen(actions, target, '/dev/null', O_RDWR, 0), 'addopen');
      else succeed(libc.actionsAddDup2(actions, outOfTheWay(source), target), 'adddup2');
    }
  }
  for (const [target, source] of targets) succeed(libc.actionsAddDup2(actions, outOfTheWay(source), target), 'adddup2');
  for (let fd = 3; fd < highest; fd++) if (!targets.has(fd)) succeed(libc.actionsAddClose(actions, fd), 'addclose');
  succeed(libc.actionsAddCloseFrom(actions, highest + 1), 'addclosefrom_np');
  succeed(libc.actionsAddChdir(actions, options.cwd ?? '/'), 'addchdir_np');
}

function execute(options: SpawnOptions, actions: Uint8Array): number {
  const attributes = new Uint8Array(structBytes);
  // Not sigfillset: it leaves out the two signals that glibc keeps for itself, and those would reach the child ignored.
  const all = new Uint8Array(128).fill(0xff);
  const none = new Uint8Array(128);
  succeed(libc.attributesInit(attributes), 'posix_spawnattr_init');
  try {
    succeed(libc.attributesSetFlags(attributes, SETSIGDEF | SETSIGMASK | SETSID), 'setflags');
    succeed(libc.attributesSetDefault(attributes, all), 'setsigdefault');
    succeed(libc.attributesSetMask(attributes, none), 'setsigmask');
    const pid = [0];
    const environment = Object.entries(options.env ?? defaultEnv).map(([name, value]) => `${name}=${value}`);
    refuseNul(options.path, ...options.args, ...environment, options.cwd ?? '', options.terminal ?? '');
    const errno = withChildLimits(options.path, options.args, (path, args) =>
      libc.posixSpawn(pid, path, actions, attributes, [path, ...args, null], [...environment, null]),
    );
    succeed(errno, 'posix_spawn', options.path);
    return pid[0]!;
  } finally {
    libc.attributesDestroy(attributes);
  }
}

/** C would cut a string at its first NUL: the program would see another word than the one that was checked. */
function refuseNul(...words: string[]): void {
  for (const word of words) if (word.includes('\0')) throw new SystemError('posix_spawn', constants.errno.EINVAL, word.replaceAll('\0', '\\0'));
}

/** These functions return the error number instead of setting errno. */
function succeed(errno: number, call: string, subject?: string): void {
  if (errno !== 0) throw new SystemError(call, errno, subject);
}
