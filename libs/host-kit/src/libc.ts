import { constants } from 'node:os';
import koffi from 'koffi';

/**
 * The C library through koffi. Everything here is synchronous and runs on the calling thread: only calls that return at once belong here. koffi's
 * asynchronous calls are not used, because they hold threads of libuv's pool.
 *
 * C's variadic functions (ioctl, fcntl, syscall) are declared with fixed arguments: on Linux x86-64 and arm64 both are passed alike.
 */
const library = koffi.load('libc.so.6');

/** A pointer argument: memory that C reads or writes during the call. */
export type Memory = Uint8Array | null;

const declare = <T extends (...args: never[]) => number>(definition: string): T => library.func(definition) as unknown as T;

/** The first name of a number is the usual one: EAGAIN, not EWOULDBLOCK. */
const names = new Map<number, string>();
for (const [name, number] of Object.entries(constants.errno)) if (!names.has(number)) names.set(number, name);

/** A system call that failed, in the form of Node's own errors: `code` is the name ('ENOENT'), `errno` the positive number. */
export class SystemError extends Error {
  readonly code: string;

  constructor(
    readonly syscall: string,
    readonly errno: number,
    readonly subject?: string,
  ) {
    const code = names.get(errno) ?? `E${errno}`;
    super(`${code}: ${syscall}${subject === undefined ? '' : ` '${subject}'`}`);
    this.name = 'SystemError';
    this.code = code;
  }
}

/** The name of a system error ('ENOENT'), of ours or of Node's; undefined for anything else. */
export const errorCode = (thrown: unknown): string | undefined =>
  thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'string' ? thrown.code : undefined;

/** `result` of a call that says -1 on failure. @throws SystemError */
export function check(result: number, syscall: string, subject?: string): number {
  if (result < 0) throw new SystemError(syscall, koffi.errno(), subject);
  return result;
}

/** Runs a call again while signals interrupt it. @throws SystemError */
export function checkRestarting(call: () => number, syscall: string, subject?: string): number {
  for (;;) {
    const result = call();
    if (result >= 0) return result;
    const errno = koffi.errno();
    if (errno !== constants.errno.EINTR) throw new SystemError(syscall, errno, subject);
  }
}

export const libc = {
  close: declare<(fd: number) => number>('int close(int fd)'),
  fcntl: declare<(fd: number, command: number, argument: number) => number>('int fcntl(int fd, int command, long argument)'),
  flock: declare<(fd: number, operation: number) => number>('int flock(int fd, int operation)'),
  ioctl: declare<(fd: number, request: number, argument: Memory) => number>('int ioctl(int fd, unsigned long request, void *argument)'),
  pipe2: declare<(fds: Memory, flags: number) => number>('int pipe2(void *fds, int flags)'),
  umask: declare<(mask: number) => number>('unsigned int umask(unsigned int mask)'),
  prlimit: declare<(pid: number, resource: number, wanted: Memory, old: Memory) => number>(
    'int prlimit64(int pid, int resource, void *wanted, void *old)',
  ),
  waitpid: declare<(pid: number, status: Memory, options: number) => number>('int waitpid(int pid, void *status, int options)'),
  getsockopt: declare<(fd: number, level: number, name: number, value: Memory, length: Memory) => number>(
    'int getsockopt(int fd, int level, int name, void *value, void *length)',
  ),

  openat: declare<(dir: number, path: Memory, flags: number, mode: number) => number>(
    'int openat(int dir, const void *path, int flags, unsigned int mode)',
  ),
  mkdirat: declare<(dir: number, path: string, mode: number) => number>('int mkdirat(int dir, const char *path, unsigned int mode)'),
  mknodat: declare<(dir: number, path: string, mode: number, device: bigint) => number>(
    'int mknodat(int dir, const char *path, unsigned int mode, uint64_t device)',
  ),
  unlinkat: declare<(dir: number, path: Memory, flags: number) => number>('int unlinkat(int dir, const void *path, int flags)'),
  symlinkat: declare<(target: string, dir: number, path: string) => number>('int symlinkat(const char *target, int dir, const char *path)'),
  linkat: declare<(fromDir: number, from: Memory, toDir: number, to: string, flags: number) => number>(
    'int linkat(int fromDir, const void *from, int toDir, const char *to, int flags)',
  ),
  readlinkat: declare<(dir: number, path: string, out: Memory, size: number) => number>(
    'long readlinkat(int dir, const char *path, void *out, size_t size)',
  ),
  renameat2: declare<(fromDir: number, from: string, toDir: number, to: string, flags: number) => number>(
    'int renameat2(int fromDir, const char *from, int toDir, const char *to, unsigned int flags)',
  ),
  fchownat: declare<(dir: number, path: Memory, uid: number, gid: number, flags: number) => number>(
    'int fchownat(int dir, const void *path, unsigned int uid, unsigned int gid, int flags)',
  ),

  mount: declare<(source: string | null, target: string, type: string | null, flags: number, data: string | null) => number>(
    'int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)',
  ),
  umount2: declare<(target: string, flags: number) => number>('int umount2(const char *target, int flags)'),

  setfsuid: declare<(uid: number) => number>('int setfsuid(unsigned int uid)'),
  setfsgid: declare<(gid: number) => number>('int setfsgid(unsigned int gid)'),
  prctl: declare<(option: number, argument: number) => number>('int prctl(int option, unsigned long argument)'),

  posixOpenpt: declare<(flags: number) => number>('int posix_openpt(int flags)'),
  grantpt: declare<(fd: number) => number>('int grantpt(int fd)'),
  unlockpt: declare<(fd: number) => number>('int unlockpt(int fd)'),
  ptsnameR: declare<(fd: number, out: Memory, size: number) => number>('int ptsname_r(int fd, void *out, size_t size)'),

  /** System calls that have no wrapper in Debian 12's glibc; numbers since 424 are the same on x86-64 and arm64. */
  openat2: library.func('syscall', 'long', ['long', 'int', 'void *', 'void *', 'size_t']) as unknown as (
    nr: number,
    dir: number,
    path: Memory,
    how: Memory,
    size: number,
  ) => number,
  openTree: library.func('syscall', 'long', ['long', 'int', 'str', 'unsigned int']) as unknown as (
    nr: number,
    dir: number,
    path: string,
    flags: number,
  ) => number,
  mountSetattr: library.func('syscall', 'long', ['long', 'int', 'str', 'unsigned int', 'void *', 'size_t']) as unknown as (
    nr: number,
    dir: number,
    path: string,
    flags: number,
    attributes: Memory,
    size: number,
  ) => number,
  moveMount: library.func('syscall', 'long', ['long', 'int', 'str', 'int', 'str', 'unsigned int']) as unknown as (
    nr: number,
    fromDir: number,
    from: string,
    toDir: number,
    to: string,
    flags: number,
  ) => number,

  posixSpawn: library.func(
    'int posix_spawn(_Out_ int *pid, const char *path, void *actions, void *attributes, const char **argv, const char **envp)',
  ) as unknown as (pid: number[], path: string, actions: Memory, attributes: Memory, argv: (string | null)[], envp: (string | null)[]) => number,
  actionsInit: declare<(actions: Memory) => number>('int posix_spawn_file_actions_init(void *actions)'),
  actionsDestroy: declare<(actions: Memory) => number>('int posix_spawn_file_actions_destroy(void *actions)'),
  actionsAddDup2: declare<(actions: Memory, from: number, to: number) => number>(
    'int posix_spawn_file_actions_adddup2(void *actions, int from, int to)',
  ),
  actionsAddOpen: declare<(actions: Memory, fd: number, path: string, flags: number, mode: number) => number>(
    'int posix_spawn_file_actions_addopen(void *actions, int fd, const char *path, int flags, unsigned int mode)',
  ),
  actionsAddClose: declare<(actions: Memory, fd: number) => number>('int posix_spawn_file_actions_addclose(void *actions, int fd)'),
  actionsAddCloseFrom: declare<(actions: Memory, from: number) => number>('int posix_spawn_file_actions_addclosefrom_np(void *actions, int from)'),
  actionsAddChdir: declare<(actions: Memory, path: string) => number>('int posix_spawn_file_actions_addchdir_np(void *actions, const char *path)'),
  attributesInit: declare<(attributes: Memory) => number>('int posix_spawnattr_init(void *attributes)'),
  attributesDestroy: declare<(attributes: Memory) => number>('int posix_spawnattr_destroy(void *attributes)'),
  attributesSetFlags: declare<(attributes: Memory, flags: number) => number>('int posix_spawnattr_setflags(void *attributes, short flags)'),
  attributesSetDefault: declare<(attributes: Memory, set: Memory) => number>('int posix_spawnattr_setsigdefault(void *attributes, void *set)'),
  attributesSetMask: declare<(attributes: Memory, set: Memory) => number>('int posix_spawnattr_setsigmask(void *attributes, void *set)'),
};

/** A name as C wants it. Names of files are bytes, not always UTF-8: what a directory was read as goes back unchanged. */
export const cString = (name: string | Uint8Array): Buffer => Buffer.concat([typeof name === 'string' ? Buffer.from(name) : name, Buffer.of(0)]);

/** Closes a descriptor; one that is closed already is no error. */
export function closeFd(fd: number): void {
  libc.close(fd);
}
