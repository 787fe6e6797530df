import { readFileSync, writeFileSync } from 'node:fs';
import { getPriority, setPriority } from 'node:os';
import { closeFd, errorCode, libc } from './libc.js';

/**
 * What a child inherits and posix_spawn has no attribute for: the soft limit of open files, oom_score_adj, nice, umask. Setting them on the running
 * child comes too late: a program that forks at once (lxc-start does) escapes. So they are set on ourselves for as long as posix_spawn takes, a
 * fraction of a millisecond, and set back. Only the limit of open files could hurt meanwhile, and only if a thread of ours opened a descriptor beyond
 * it: with that many in use, util-linux's prlimit sets it instead, for a millisecond more.
 */
const RLIMIT_NOFILE = 7;
const F_DUPFD_CLOEXEC = 1030;
const childUmask = 0o022;
/** Descriptors that other threads may open during one posix_spawn. */
const spareFiles = 128;

/** Node raises the soft limit before any of our code runs; MUSTER_NOFILE_SOFT tells what it was, 1024 is what kernel and systemd give. */
const softFiles = Math.max(256, Number(/^\d{1,9}$/.exec(process.env['MUSTER_NOFILE_SOFT'] ?? '1024')?.[0] ?? 1024));

/** Calls `spawn` while we are as the child shall be. @param spawn gets what is to be run: the program, or prlimit with it */
export function withChildLimits<T>(path: string, args: readonly string[], spawn: (path: string, args: readonly string[]) => T): T {
  using back = new DisposableStack();
  const ours = libc.umask(childUmask);
  back.defer(() => libc.umask(ours));
  asOrdinaryProcess(back);
  const limit = new BigUint64Array(2);
  const bytes = new Uint8Array(limit.buffer);
  if (libc.prlimit(0, RLIMIT_NOFILE, null, bytes) !== 0 || limit[0]! <= BigInt(softFiles)) return spawn(path, args);
  if (lowestFreeFd() > softFiles - spareFiles) return spawn('/usr/bin/prlimit', [`--nofile=${softFiles}:`, '--', path, ...args]);
  const soft = limit[0]!;
  const set = (value: bigint): void => {
    limit[0] = value;
    libc.prlimit(0, RLIMIT_NOFILE, bytes, null);
  };
  set(BigInt(softFiles));
  back.defer(() => set(soft));
  return spawn(path, args);
}

function asOrdinaryProcess(back: DisposableStack): void {
  const file = '/proc/self/oom_score_adj';
  const adjustment = readFileSync(file, 'latin1').trim();
  if (adjustment !== '0' && allowed(() => writeFileSync(file, '0'))) back.defer(() => allowed(() => writeFileSync(file, adjustment)));
  const nice = getPriority();
  if (nice !== 0 && allowed(() => setPriority(0))) back.defer(() => allowed(() => setPriority(nice)));
}

/** Without the capability it stays as it is: no reason to start nothing. */
function allowed(change: () => void): boolean {
  try {
    change();
    return true;
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    return false;
  }
}

/** Descriptors are given from below: this one and those above are free, or nearly all. */
function lowestFreeFd(): number {
  const fd = libc.fcntl(0, F_DUPFD_CLOEXEC, 0);
  if (fd < 0) return Number.MAX_SAFE_INTEGER;
  closeFd(fd);
  return fd;
}
