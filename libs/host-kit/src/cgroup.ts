import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { fault } from '#kit';
import type { CgroupController, CgroupLayout } from './cgroup-layout.js';
import { cgroupSettings, type CgroupLimits, type CgroupSetting } from './cgroup-limits.js';
import { errorCode } from './libc.js';

/** What a cgroup uses; undefined where its controller or the kernel does not tell. */
export interface CgroupUsage {
  memoryBytes?: number;
  memoryPeakBytes?: number;
  /** null: no limit. */
  memoryLimitBytes?: number | null;
  swapBytes?: number;
  swapPeakBytes?: number;
  /** Of all processors together since the cgroup was made, in nanoseconds. */
  cpuNs?: number;
  processes?: number;
  /** Processes killed for want of memory. */
  oomKills?: number;
}

/** Version 1 shows "no limit" as the largest number of whole pages. */
const unlimitedFrom = 2 ** 62;

/**
 * One cgroup by its path below the hierarchies ('lxc.payload.c1'), on version 1 and 2 alike. Nothing is kept: every call looks. The files are the
 * kernel's own and answer at once, so all is synchronous.
 */
export class Cgroup {
  constructor(
    private readonly layout: CgroupLayout,
    /** Without slashes around it. */
    readonly name: string,
  ) {
    if (name === '' || name.split('/').some((part) => part === '' || part === '.' || part === '..')) throw fault.invalid('Invalid cgroup name');
  }

  exists(): boolean {
    return this.#folders().length > 0;
  }

  /** Text of a key, without the newline; undefined if the controller, the cgroup or the key is not there. */
  read(controller: CgroupController, key: string): string | undefined {
    const root = this.layout.controllers.get(controller)?.root;
    if (root === undefined) return undefined;
    try {
      return readFileSync(`${root}/${this.name}/${key}`, 'latin1').trimEnd();
    } catch (error) {
      if (['ENOENT', 'ENODEV', 'EOPNOTSUPP', 'ENOTSUP'].includes(errorCode(error) ?? '')) return undefined;
      throw error;
    }
  }

  /** @throws Fault notFound: no such cgroup; unsupported: no such controller or key; invalid: the kernel refuses the value; conflict: below what is in use */
  write(controller: CgroupController, key: string, value: string): void {
    const root = this.layout.controllers.get(controller)?.root;
    if (root === undefined) throw fault.unsupported(`The kernel has no cgroup controller '${controller}'`);
    if (key.includes('/')) throw fault.invalid('Invalid cgroup key');
    try {
      writeFileSync(`${root}/${this.name}/${key}`, value, { flag: 'r+' });
    } catch (error) {
      const options = { cause: error, detail: `${this.name}/${key} = ${value}` };
      if (errorCode(error) === 'ENOENT') {
        if (existsSync(`${root}/${this.name}`)) throw fault.unsupported(`The kernel has no cgroup key '${key}'`, options);
        throw fault.notFound('The cgroup does not exist', options);
      }
      if (errorCode(error) === 'EBUSY') throw fault.conflict(`Cannot set '${key}' below what is in use`, options);
      throw fault.invalid(`The kernel refuses '${value}' for '${key}'`, options);
    }
  }

  usage(): CgroupUsage {
    return {
      ...(this.#version('memory') === 2 ? this.#memory2() : this.#memory1()),
      cpuNs: this.#cpuNs(),
      processes: this.#number('pids', 'pids.current'),
    };
  }

  /** Sets limits of a cgroup that is in use. @returns limits that this kernel cannot set. @throws Fault as write */
  limit(limits: CgroupLimits): (keyof CgroupLimits)[] {
    const { settings, missing } = cgroupSettings(this.layout, limits);
    for (const setting of this.#inOrder(settings)) this.write(setting.controller, setting.key, setting.value);
    return missing;
  }

  /** All processes in it and in the cgroups below it. */
  pids(): number[] {
    const pids = new Set<number>();
    for (const folder of this.#folders()) collectPids(folder, pids);
    return [...pids];
  }

  /** Kills what is in it, whatever forks meanwhile, and tells whether it is empty now (a process in the kernel may take longer). */
  kill(): boolean {
    for (let round = 0; round < 10; round++) {
      const pids = this.pids();
      if (pids.length === 0) return true;
      for (const pid of pids) {
        try {
          process.kill(pid, 'SIGKILL');
        } catch {
          // Gone meanwhile.
        }
      }
    }
    return this.pids().length === 0;
  }

  /** Makes it in every hierarchy; what exists stays. */
  create(): void {
    for (const root of this.layout.hierarchies) mkdirSync(`${root}/${this.name}`, { recursive: true });
  }

  /** Removes it with all below it in every hierarchy; nothing there is no error. @throws Fault conflict: processes are in it */
  remove(): void {
    for (const folder of this.#folders()) removeFolder(folder);
  }

  /** Version 1 keeps memory <= memory + swap at every moment: a sum that rises goes before its part, one that falls after it. */
  #inOrder(settings: CgroupSetting[]): CgroupSetting[] {
    const isSum = (setting: CgroupSetting): boolean => setting.key === 'memory.memsw.limit_in_bytes';
    const sum = settings.find(isSum);
    const rises = sum && (sum.value === '-1' || Number(sum.value) >= (this.#number('memory', sum.key) ?? 0));
    return rises ? [sum, ...settings.filter((setting) => !isSum(setting))] : settings;
  }

  #version(controller: CgroupController): 1 | 2 | undefined {
    return this.layout.controllers.get(controller)?.version;
  }

  #number(controller: CgroupController, key: string): number | undefined {
    const text = this.read(controller, key);
    return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined;
  }

  #field(controller: CgroupController, key: string, field: string): number | undefined {
    const text = this.read(controller, key);
    const found = text === undefined ? undefined : new RegExp(`^${field} (\\d+)$`, 'm').exec(text)?.[1];
    return found === undefined ? undefined : Number(found);
  }

  #memory1(): CgroupUsage {
    const memoryBytes = this.#number('memory', 'memory.usage_in_bytes');
    const memoryPeakBytes = this.#number('memory', 'memory.max_usage_in_bytes');
    const limit = this.#number('memory', 'memory.limit_in_bytes');
    const beyond = (sum: number | undefined, part: number | undefined): number | undefined =>
      sum === undefined || part === undefined ? undefined : Math.max(0, sum - part);
    return {
      memoryBytes,
      memoryPeakBytes,
      memoryLimitBytes: limit === undefined ? undefined : limit > unlimitedFrom ? null : limit,
      swapBytes: beyond(this.#number('memory', 'memory.memsw.usage_in_bytes'), memoryBytes),
      swapPeakBytes: beyond(this.#number('memory', 'memory.memsw.max_usage_in_bytes'), memoryPeakBytes),
      oomKills: this.#field('memory', 'memory.oom_control', 'oom_kill'),
    };
  }

  #memory2(): CgroupUsage {
    const limit = this.read('memory', 'memory.max');
    return {
      memoryBytes: this.#number('memory', 'memory.current'),
      memoryPeakBytes: this.#number('memory', 'memory.peak'),
      memoryLimitBytes: limit === undefined ? undefined : limit === 'max' ? null : Number(limit),
      swapBytes: this.#number('memory', 'memory.swap.current'),
      swapPeakBytes: this.#number('memory', 'memory.swap.peak'),
      oomKills: this.#field('memory', 'memory.events', 'oom_kill'),
    };
  }

  #cpuNs(): number | undefined {
    if (this.#version('cpuacct') === 1) return this.#number('cpuacct', 'cpuacct.usage');
    const us = this.#field('cpu', 'cpu.stat', 'usage_usec');
    return us === undefined ? undefined : us * 1000;
  }

  #folders(): string[] {
    return this.layout.hierarchies.map((root) => `${root}/${this.name}`).filter((folder) => existsSync(folder));
  }
}

/** Names of the cgroups at the top of any hierarchy that begin with a prefix; what is stale among them is for the caller to know. */
export function listCgroups(layout: CgroupLayout, prefix: string): string[] {
  const names = new Set<string>();
  for (const root of layout.hierarchies) {
    for (const entry of readdirSync(root, { withFileTypes: true })) if (entry.isDirectory() && entry.name.startsWith(prefix)) names.add(entry.name);
  }
  return [...names].toSorted();
}

function collectPids(folder: string, pids: Set<number>): void {
  try {
    for (const line of readFileSync(`${folder}/cgroup.procs`, 'latin1').split('\n')) if (line !== '' && line !== '0') pids.add(Number(line));
    for (const child of foldersIn(folder)) collectPids(child, pids);
  } catch (error) {
    if (!['ENOENT', 'ENODEV', 'EOPNOTSUPP', 'ENOTSUP'].includes(errorCode(error) ?? '')) throw error;
  }
}

function removeFolder(folder: string): void {
  try {
    for (const child of foldersIn(folder)) removeFolder(child);
    rmdirSync(folder);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return;
    if (errorCode(error) === 'EBUSY') throw fault.conflict('The cgroup still has processes', { detail: folder, cause: error });
    throw error;
  }
}

const foldersIn = (folder: string): string[] =>
  readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => `${folder}/${entry.name}`);
