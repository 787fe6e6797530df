import { Fault } from '#kit';
import { findProgram, programPackages } from './programs.js';
import { run } from './run.js';

/** What a program that Muster may start is like on this machine. */
export interface ProgramState {
  name: string;
  /** 'broken': it is there, and does not answer as it should. */
  state: 'ready' | 'missing' | 'broken';
  path?: string;
  /** '5.0.2'; undefined if it does not tell. */
  version?: string;
  /** The Debian package that brings it. */
  package?: string;
  reason?: string;
}

/** How each tells its version; what is not here is only looked for. */
const versionArgs: Readonly<Record<string, readonly string[]>> = {
  bsdtar: ['--version'],
  btrfs: ['--version'],
  criu: ['--version'],
  dnsmasq: ['--version'],
  ip: ['-V'],
  lvs: ['--version'],
  lz4: ['--version'],
  'lxc-attach': ['--version'],
  'lxc-start': ['--version'],
  lxcfs: ['--version'],
  mksquashfs: ['-version'],
  'mkfs.ext4': ['-V'],
  nft: ['--version'],
  nsenter: ['--version'],
  'qemu-img': ['--version'],
  'qemu-system-aarch64': ['--version'],
  'qemu-system-x86_64': ['--version'],
  rbd: ['--version'],
  rsync: ['--version'],
  tar: ['--version'],
  unsquashfs: ['-version'],
  xz: ['--version'],
  zfs: ['version', '-j'],
  zstd: ['--version'],
};

const timeoutMs = 5_000;

/** Looks at one program. Never throws, and answers within five seconds. */
export async function probeProgram(name: string): Promise<ProgramState> {
  const brings = programPackages[name];
  const path = findProgram(name);
  if (path === undefined) return { name, state: 'missing', package: brings, reason: `Program '${name}' is not installed` };
  const args = versionArgs[name];
  if (!args) return { name, state: 'ready', path, package: brings };
  try {
    // Some tell their version with an error code, some on stderr: only what they say counts.
    const { stdout, stderr, signal } = await run(path, args, { timeoutMs });
    const version = /(?:^|[^\d.])v?(\d+(?:\.\d+)+[\w.-]*)/.exec(`${String(stdout)}\n${String(stderr)}`)?.[1];
    if (version !== undefined && signal === null) return { name, state: 'ready', path, package: brings, version };
    return { name, state: 'broken', path, package: brings, reason: `Program '${name}' does not tell its version` };
  } catch (error) {
    return { name, state: 'broken', path, package: brings, reason: Fault.from(error).message };
  }
}

/** Looks at several programs, a few at a time. @param names default: all that Muster knows */
export async function probePrograms(names: readonly string[] = Object.keys(programPackages)): Promise<ProgramState[]> {
  const states: ProgramState[] = [];
  const waiting = [...names.entries()];
  const work = async (): Promise<void> => {
    for (let next = waiting.shift(); next; next = waiting.shift()) states[next[0]] = await probeProgram(next[1]);
  };
  await Promise.all([work(), work(), work(), work()]);
  return states;
}
