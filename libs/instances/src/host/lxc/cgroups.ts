import { existsSync, readdirSync } from 'node:fs';
import { readFile, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode } from '#host-kit';
import { fault } from '#kit';
import type { CgroupLayout, CgroupSetting } from '../../model/index.js';
import type { Usage } from '../driver.js';

const root = '/sys/fs/cgroup';

/** v2 where the host has the one tree only; hybrid hosts count as v1, since their controllers are there. */
export const cgroupLayout = (): CgroupLayout => (existsSync(`${root}/cgroup.controllers`) ? 'v2' : 'v1');

/** The control groups of containers, on either layout. */
export class Cgroups {
  readonly layout = cgroupLayout();
  /** Directories in which LXC makes a group for each container: one a controller on v1, the one tree on v2. */
  readonly #trees = this.layout === 'v2' ? [root] : readdirSync(root).map((name) => join(root, name));

  /** Whether a controller's file exists for containers (`memory.memsw.limit_in_bytes` …). */
  has(controller: string, file: string): boolean {
    return existsSync(join(this.layout === 'v2' ? root : join(root, controller), file));
  }

  directory(hostName: string, controller: string): string {
    return join(root, this.layout === 'v2' ? '' : controller, `lxc.payload.${hostName}`);
  }

  /** @throws Fault internal */
  async write(hostName: string, { controller, file, value }: CgroupSetting): Promise<void> {
    try {
      await writeFile(join(this.directory(hostName, controller), file), value);
    } catch (error) {
      throw fault.internal(`Failed to set cgroup ${file}="${value}": ${errorCode(error) ?? 'unknown error'}`, { cause: error });
    }
  }

  async freeze(hostName: string, frozen: boolean): Promise<void> {
    const v2 = this.layout === 'v2';
    const [controller, file] = v2 ? ['', 'cgroup.freeze'] : ['freezer', 'freezer.state'];
    const value = v2 ? (frozen ? '1' : '0') : frozen ? 'FROZEN' : 'THAWED';
    await writeFile(join(this.directory(hostName, controller), file), value);
    for (let tries = 0; (await this.isFrozen(hostName)) !== frozen; tries++) {
      if (tries === 200) throw fault.internal(`Failed to ${frozen ? 'freeze' : 'unfreeze'} the container`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  async isFrozen(hostName: string): Promise<boolean> {
    if (this.layout === 'v2') return /^frozen 1$/m.test(await this.#read(hostName, '', 'cgroup.events'));
    return (await this.#read(hostName, 'freezer', 'freezer.state')).trim() === 'FROZEN';
  }

  async usage(hostName: string): Promise<Usage> {
    const number = async (controller: string, file: string): Promise<number> => Number((await this.#read(hostName, controller, file)).trim()) || 0;
    if (this.layout === 'v2') {
      const [stat, memoryBytes, memoryPeakBytes, swapBytes, processes] = await Promise.all([
        this.#read(hostName, '', 'cpu.stat'),
        number('', 'memory.current'),
        number('', 'memory.peak'),
        number('', 'memory.swap.current'),
        number('', 'pids.current'),
      ]);
      return {
        cpuNs: Number(/^usage_usec (\d+)$/m.exec(stat)?.[1] ?? 0) * 1000,
        memoryBytes,
        memoryPeakBytes,
        swapBytes,
        swapPeakBytes: 0,
        processes,
      };
    }
    const [cpuNs, memoryBytes, memoryPeakBytes, bothBytes, bothPeakBytes, processes] = await Promise.all([
      number('cpuacct', 'cpuacct.usage'),
      number('memory', 'memory.usage_in_bytes'),
      number('memory', 'memory.max_usage_in_bytes'),
      number('memory', 'memory.memsw.usage_in_bytes'),
      number('memory', 'memory.memsw.max_usage_in_bytes'),
      number('pids', 'pids.current'),
    ]);
    return {
      cpuNs,
      memoryBytes,
      memoryPeakBytes,
      swapBytes: Math.max(0, bothBytes - memoryBytes),
      swapPeakBytes: Math.max(0, bothPeakBytes - memoryPeakBytes),
      processes,
    };
  }

  /** Pids in a container, of every level. */
  async processes(hostName: string): Promise<number[]> {
    return (await this.#read(hostName, this.layout === 'v2' ? '' : 'pids', 'cgroup.procs')).split('\n').filter(Boolean).map(Number);
  }

  /** Removes the groups that a killed monitor left behind. */
  async remove(hostName: string): Promise<void> {
    for (const tree of this.#trees) {
      for (const kind of ['payload', 'monitor']) await removeTree(join(tree, `lxc.${kind}.${hostName}`));
    }
  }

  /** '' when it is gone. */
  async #read(hostName: string, controller: string, file: string): Promise<string> {
    try {
      return await readFile(join(this.directory(hostName, controller), file), 'latin1');
    } catch (error) {
      if (errorCode(error) === 'ENOENT' || errorCode(error) === 'ENODEV') return '';
      throw error;
    }
  }
}

async function removeTree(path: string): Promise<void> {
  if (!existsSync(path)) return;
  try {
    for (const entry of readdirSync(path, { withFileTypes: true })) if (entry.isDirectory()) await removeTree(join(path, entry.name));
    await rmdir(path);
  } catch (error) {
    // Somebody else removed it, or a process still dies in it: the next look finds it.
    if (!['ENOENT', 'EBUSY', 'ENOTEMPTY'].includes(errorCode(error) ?? '')) throw error;
  }
}
