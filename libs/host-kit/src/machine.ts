import { readFileSync } from 'node:fs';
import { fault } from '#kit';
import { runOk } from './run.js';

export interface MemoryUse {
  totalBytes: number;
  /** What programs hold; caches do not count. */
  usedBytes: number;
  availableBytes: number;
  swapTotalBytes: number;
  swapFreeBytes: number;
}

/** Memory of this machine, from /proc/meminfo. */
export function memoryUse(text: string = readFileSync('/proc/meminfo', 'latin1')): MemoryUse {
  const bytes = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0) * 1024;
  const totalBytes = bytes('MemTotal');
  const availableBytes = bytes('MemAvailable');
  return { totalBytes, availableBytes, usedBytes: totalBytes - availableBytes, swapTotalBytes: bytes('SwapTotal'), swapFreeBytes: bytes('SwapFree') };
}

/** File systems that the kernel can mount without loading a module. */
export function kernelFilesystems(text: string = readFileSync('/proc/filesystems', 'latin1')): Set<string> {
  return new Set(
    text
      .split('\n')
      .map((line) => line.split('\t')[1] ?? '')
      .filter(Boolean),
  );
}

/** Names of the loaded modules and of none that are built in. */
export function loadedModules(text: string = readFileSync('/proc/modules', 'latin1')): Set<string> {
  return new Set(
    text
      .split('\n')
      .map((line) => line.split(' ')[0]!)
      .filter(Boolean),
  );
}

export interface LoopDevice {
  /** '/dev/loop3' */
  device: string;
  file: string;
}

/** Makes a block device of a file. @throws Fault internal: no device is free, no such file */
export async function attachLoop(file: string, options: { directIo?: boolean; readonly?: boolean } = {}): Promise<string> {
  const flags = [`--direct-io=${options.directIo ? 'on' : 'off'}`, ...(options.readonly ? ['--read-only'] : [])];
  const device = String(
    await runOk('losetup', ['--find', '--show', '--nooverlap', ...flags, '--', file], { failure: 'Could not set up a loop device' }),
  ).trim();
  if (!/^\/dev\/loop\d+$/.test(device)) throw fault.internal('Could not set up a loop device', { detail: device });
  return device;
}

/** Frees a loop device; while it is in use, at its last close. */
export async function detachLoop(device: string): Promise<void> {
  await runOk('losetup', ['--detach', device], { failure: 'Could not free a loop device' });
}

/** All loop devices, or those of one file. */
export async function listLoops(file?: string): Promise<LoopDevice[]> {
  const text = String(
    await runOk('losetup', ['--json', '--list', '--output', 'NAME,BACK-FILE', ...(file === undefined ? [] : ['--associated', file])]),
  ).trim();
  if (text === '') return [];
  const { loopdevices } = JSON.parse(text) as { loopdevices: { name: string; 'back-file': string }[] };
  return loopdevices.map((loop) => ({ device: loop.name, file: loop['back-file'] }));
}

/** Tells the kernel that the file behind a loop device has grown. */
export async function refreshLoop(device: string): Promise<void> {
  await runOk('losetup', ['--set-capacity', device], { failure: 'Could not resize a loop device' });
}
